# VOC's people against everything else over EfficientNet-Lite0, images of 320 pixels on the shorter side.
_base_ = "lite0.py"
title = "VOC person subset"
note = "EfficientNet-Lite0, shorter side 320 pixels; one class, person, against everything else."
crop = (288, 288)
_train = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(2048, 320), ratio_range=(0.75, 1.75), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
_resize = dict(type="Resize", scale=(2048, 320), keep_ratio=True)
_test = [dict(type="LoadImageFromFile"), _resize, dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
train_dataloader = dict(dataset=dict(only=["person"], pipeline=_train))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(only=["person"], pipeline=_test))
test_dataloader = val_dataloader
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [_resize],
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
data = dict(val_share=0.2)
supernet = dict(train_cfg=dict(max_iters=1500))
search = dict(method="ean", steps=200, max_evaluations=100, unconnected="mean")
retrain = ["org", "share-full", "ean"]
