# VOC's people against everything else over EfficientNet-Lite0, images of 320 pixels on the shorter side.
_base_ = ["lite0.py", "voc.py"]
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
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(only=["person"], pipeline=_train))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(only=["person"], pipeline=_test))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.15))),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type="CosineAnnealingLR", T_max=1450, begin=50, end=1500, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(max_iters=1500, val_interval=500)
custom_hooks = [
    dict(type="SeedSteps"),
    dict(type="SaveIterations", interval=250),
    dict(type="KeepValidations"),
    dict(type="SidePictures", count=6),
]
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
