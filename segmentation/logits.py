"""A segmentor of mmsegmentation as a plain network, for timing, folding and Grad-CAM."""

from __future__ import annotations

from collections.abc import Iterator

from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F

from ean_core.networks.around import AroundTrunk


class Logits(AroundTrunk):
    """Backbone, decode head and the enlargement to the image's size: what a prediction needs, and no auxiliary head.

    Args:
        segmentor: an EncoderDecoder of mmsegmentation.
    """

    trunk_name = "backbone.network"

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = segmentor.backbone, segmentor.decode_head

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> logits (B, classes, H, W)."""
        logits = self.head(self.backbone(images))
        return F.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=self.head.align_corners)

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """The backbone's, and those of mmcv's modules of convolution, norm and activation in the head."""
        yield from super().conv_norm_pairs()
        for name, module in self.head.named_modules():
            if isinstance(module, ConvModule) and module.with_norm and module.order[:2] == ("conv", "norm"):
                yield f"head.{name}.conv", f"head.{name}.{module.norm_name}"
