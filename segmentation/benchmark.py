"""Build the segmentors of one config that a speed benchmark compares, as in the last column of Table 5."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from ean_core.utils.errors import EANError
from segmentation.config import read_config
from segmentation.job import network_label
from segmentation.model.logits_network import Logits
from segmentation.recipe import backbone_recipe
from segmentation.segmentor_file import SegmentorSpec


def build_segmentors(config_path: str | Path, *, seed: int = 0, device: str = "cpu") -> dict[str, Logits]:
    """Build Org, Share-full and EAN of a config, with its attention and scheme and random weights, in eval mode.

    Args:
        config_path: a segmentation config whose backbone is an EANResNet with attention.
        seed: seed for the random weights.
        device: device of the networks.

    Returns:
        networks by label: "Org", "Share-full-SE", "EAN-SE" (or with another attention's name); without EAN if the
        config's scheme is all ones.

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
        single = revert_sync_batchnorm(segmentor)  # there is only one process, and SyncBN cannot be folded
        networks.setdefault(network_label(single.backbone), Logits(single).eval().to(device))
    if len(networks) < 2 or config.model.backbone.get("scheme") == "org":
        raise EANError(f"{config_path} has no attention to compare: give a Share-full or EAN config")
    return networks


def share_full(path: str) -> tuple[Logits, SegmentorSpec]:
    """The network in which a config's schemes are searched, with random weights, and its spec.

    Raises:
        EANError: if the config cannot be read, or its backbone is not an EANResNet.
    """
    register_all_modules(init_default_scope=True)
    config = read_config(path)
    model = backbone_recipe(config)
    spec = SegmentorSpec(model.arch, model.attention, attention_options=dict(model.attention_options))
    return Logits(revert_sync_batchnorm(spec.build(config))), spec
