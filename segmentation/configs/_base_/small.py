# A recipe for small machines: people against everything else, ResNet-20 of a CIFAR recipe, PSPNet with a thin head,
# images at about a third of their size and averaged over 2x2 pixels, so that people are as large as what the backbone
# was trained on. About five minutes on one processor core with --amp. Its figures are those of a small network on few
# images.
_base_ = "voc.py"
title = "VOC person subset"
note = "ResNet-20, images of at most 192 pixels; one class, person, against everything else."
crop = (128, 128)
_train = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(192, 192), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
_test = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(192, 192), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(only=["person"], pipeline=_train)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(only=["person"], pipeline=_test))
test_dataloader = val_dataloader
norm_cfg = dict(type="SyncBN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[125.307, 122.961, 113.8575],  # CIFAR's, in which the classifiers of the CIFAR recipes see their images
        std=[51.5865, 50.847, 51.255],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop,
    ),
    backbone=dict(type="EANResNet", arch="resnet20", attention="se", pool=2, norm_cfg=norm_cfg),
    decode_head=dict(
        type="PSPHead",
        in_channels=64,
        in_index=2,
        channels=64,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        num_classes=2,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    train_cfg={},
    test_cfg=dict(mode="whole"),
)
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [dict(type="PolyLR", eta_min=1e-4, power=0.9, begin=0, end=1500, by_epoch=False)]
train_cfg = dict(max_iters=1500, val_interval=500)
custom_hooks = [
    dict(type="SeedSteps"),
    dict(type="SaveIterations", interval=500),
    dict(type="KeepValidations"),
    dict(type="SidePictures", count=6),
]
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale=(round(192 * factor),) * 2, keep_ratio=True) for factor in (0.75, 1.0, 1.25)],
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
