# PSPNet (arXiv 1612.01105) over ResNet-50 at output stride 8, with an auxiliary loss on stage 3: the likely set-up of
# the paper's Table 5. The paper's ResNet-50 has biased convolutions; public ImageNet weights fit, with zero biases:
#   python tools/train.py CONFIG --weights torchvision://resnet50
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
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type="PSPHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        pool_scales=(1, 2, 3, 6),
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
