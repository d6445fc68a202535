# CamVid (367 training, 101 validation and 233 test images of 480x360, 11 classes: SegNet's split) over
# EfficientNet-Lite0. An example of own data in folders: see segmentation/data/folders.py.
_base_ = "lite0.py"
title = "CamVid"
note = "480x360 pixels, 11 classes; settings were chosen on the validation images."
_classes = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
# 1 / log(1.1 + share of the training pixels), so that rare classes count more (ENet, arXiv 1606.02147, has 1.02)
_weights = [4.1, 3.4, 9.6, 2.8, 7.3, 5.5, 9.4, 9.4, 6.7, 9.9, 10.2]
_train = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.75, 1.75), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(288, 288)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
_test = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
_folders = dict(_delete_=True, type="FolderSegmentation", data_root="data/CamVid", classes=_classes, ignored=[11])
train_dataloader = dict(dataset=dict(part="train", pipeline=_train, **_folders))
val_dataloader = dict(dataset=dict(part="val", pipeline=_test, **_folders))
test_dataloader = dict(dataset=dict(part="test", pipeline=_test, **_folders))
model = dict(decode_head=dict(num_classes=11, loss_decode=dict(class_weight=_weights)))
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
