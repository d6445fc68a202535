"""The segmentors of one recipe that the last column of Table 5 compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from mmcv.cnn import ConvModule
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from torch import Tensor, nn
from torch.nn import functional as F

from ean_core.errors import EANError
from ean_core.networks.around import AroundTrunk
from segmentation.config import read_config
from segmentation.job import label_of


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


def build_segmentors(config_path: str | Path, *, seed: int = 0, device: str = "cpu") -> dict[str, Logits]:
    """Org, Share-full and EAN of a recipe, with its attention and scheme and random weights, in eval mode.

    Args:
        config_path: a segmentation config whose backbone is an EANResNet with attention.
        seed: of the weights.
        device: where they go.

    Returns:
        "Org", "Share-full-SE", "EAN-SE" (or another attention's name) -> network; without EAN for a recipe whose scheme
        is all ones.

    Raises:
        EANError: if the config cannot be read, or has no attention to compare.
    """
    register_all_modules(init_default_scope=True)
    config = read_config(config_path)
    if config.model.backbone.type != "EANResNet":
        raise EANError(f"{config_path} has the backbone {config.model.backbone.type}: only EANResNet has a scheme")
    config.model.backbone.init_cfg = None
    networks: dict[str, Logits] = {}
    for scheme in ("org", "share-full", config.model.backbone.get("scheme")):
        torch.manual_seed(seed)
        segmentor = MODELS.build({**config.model, "backbone": {**config.model.backbone, "scheme": scheme}})
        single = revert_sync_batchnorm(segmentor)  # there is one process, and what is not synchronised can be folded
        networks.setdefault(label_of(single.backbone), Logits(single).eval().to(device))
    if len(networks) < 2 or config.model.backbone.get("scheme") == "org":
        raise EANError(f"{config_path} has no attention to compare: give a recipe of Share-full or EAN")
    return networks
