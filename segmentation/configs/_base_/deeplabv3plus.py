# DeepLabV3+ (arXiv 1802.02611) over ResNet-50 at output stride 16, with an auxiliary loss on stage 3.
norm_cfg = dict(type="SyncBN", requires_grad=True)
_loss = dict(type="CrossEntropyLoss", avg_non_ignore=True)
_head = dict(num_classes=21, norm_cfg=norm_cfg, align_corners=False, dropout_ratio=0.1)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(480, 480),
    ),
    backbone=dict(
        type="EANResNet",
        arch="resnet50",
        attention="se",
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        contract_dilation=True,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type="DepthwiseSeparableASPPHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 6, 12, 18),
        c1_in_channels=256,
        c1_channels=48,
        loss_decode=_loss,
        **_head,
    ),
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=1024,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(loss_weight=0.4, **_loss),
        **_head,
    ),
    train_cfg={},
    test_cfg=dict(mode="whole"),
)
