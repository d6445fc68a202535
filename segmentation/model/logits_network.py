"""An mmsegmentation segmentor as a plain network, for timing, folding, Grad-CAM and export."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn import functional as F

from ean_core.networks.backbone_wrapper import BackboneWrapper


class Logits(BackboneWrapper):
    """Backbone, neck, decode head and upsampling to the image size, without the auxiliary head.

    Parameter names are those of the segmentor.

    Args:
        segmentor: an mmsegmentation EncoderDecoder.
    """

    trunk_name = "backbone.network"

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.backbone, self.decode_head = segmentor.backbone, segmentor.decode_head
        self.neck = segmentor.neck if segmentor.with_neck else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (B, 3, H, W) to logits (B, classes, H, W)."""
        return self.resize(self.decode_head(self.neck(self.backbone(images))), images.shape[-2:])

    def forward_stem(self, images: Tensor) -> Tensor:
        """Map normalized images (B, 3, H, W) to the input of the backbone's first stage."""
        return self.backbone.network.forward_stem(self.backbone.pooled(images))

    def forward_head(self, features: Sequence[Tensor]) -> Tensor:
        """Map the outputs of all the backbone's stages to the head's logits (B, classes, h, w), not enlarged yet."""
        return self.decode_head(self.neck(tuple(features[index] for index in self.backbone.out_indices)))

    def resize(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Resize logits to (B, classes, *size)."""
        return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=self.decode_head.align_corners)

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """Yield the backbone's pairs, and those of mmcv's `ConvModule`s in neck and head."""
        yield from super().conv_norm_pairs()
        for name, module in self.named_modules():
            if isinstance(module, ConvModule) and module.with_norm and module.order[:2] == ("conv", "norm"):
                yield f"{name}.conv", f"{name}.{module.norm_name}"
