# Made-up shapes, drawn into data/voc_demo on first use, a small network from random weights: two minutes on a CPU for a
# training, and five for tools/search.py, which scores schemes on a quarter of the training images.
_base_ = "_base_/small.py"
title = "made-up shapes"
note = "It shows the commands at work; how a network does on it says nothing of real images."
crop = (96, 96)
_load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations")]
_augment = [dict(type="RandomCrop", crop_size=crop), dict(type="RandomFlip", prob=0.5)]
_train, _test = [*_load, *_augment, dict(type="PackSegInputs")], [*_load, dict(type="PackSegInputs")]
_demo = dict(_delete_=True, type="VOCShapes", data_root="data/voc_demo")
train_dataloader = dict(dataset=dict(ann_file="ImageSets/Segmentation/train.txt", pipeline=_train, **_demo))
val_dataloader = dict(dataset=dict(ann_file="ImageSets/Segmentation/val.txt", pipeline=_test, **_demo))
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(size=crop),
    backbone=dict(scheme="001001001"),
    decode_head=dict(channels=32, num_classes=4),
)
optim_wrapper = dict(optimizer=dict(lr=0.1))
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[  # around the images' own size, at which the network is trained and tested
            [dict(type="Resize", scale_factor=factor, keep_ratio=True) for factor in (0.75, 1.0, 1.25)],
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=300, by_epoch=False)]
train_cfg = dict(max_iters=300, val_interval=100)
data = dict(val_share=0.25)
supernet = {}  # trained as segmentors are
search = dict(method="ean", steps=40, options=dict(schemes_per_step=2))
retrain = ["org", "ean"]
