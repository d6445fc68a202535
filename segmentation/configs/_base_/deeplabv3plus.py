# DeepLabV3+ (arXiv 1802.02611) over ResNet-50 at output stride 16; all else, the auxiliary loss too, as in pspnet.py.
_base_ = "pspnet.py"
model = dict(
    backbone=dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    decode_head=dict(
        _delete_=True,
        type="DepthwiseSeparableASPPHead",
        in_channels=2048,
        in_index=3,
        channels=512,
        dilations=(1, 6, 12, 18),
        c1_in_channels=256,
        c1_channels=48,
        num_classes=21,
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        align_corners=False,
        dropout_ratio=0.1,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
)
