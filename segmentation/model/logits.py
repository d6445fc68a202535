"""A segmentor of mmsegmentation as a plain network, for timing, folding, Grad-CAM and export."""

from __future__ import annotations

from collections.abc import Iterator

from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F

from ean_core.networks.wrapper import BackboneWrapper


class Logits(BackboneWrapper):
    """Backbone, neck, decode head and the enlargement to the image's size; not the auxiliary head of training.

    Its weights are called as the segmentor's.

    Args:
        segmentor: an EncoderDecoder of mmsegmentation.
    """

    trunk_name = "backbone.network"

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.backbone, self.decode_head = segmentor.backbone, segmentor.decode_head
        self.neck = segmentor.neck if segmentor.with_neck else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits (B, classes, H, W)."""
        logits = self.decode_head(self.neck(self.backbone(images)))
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=self.decode_head.align_corners)

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """The backbone's, and those of mmcv's modules of convolution, norm and activation in neck and head."""
        yield from super().conv_norm_pairs()
        for name, module in self.named_modules():
            if isinstance(module, ConvModule) and module.with_norm and module.order[:2] == ("conv", "norm"):
                yield f"{name}.conv", f"{name}.{module.norm_name}"
