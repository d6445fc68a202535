"""The weights that a segmentor starts from: read once, checked, and compared with the config's normalization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.config import Config

from ean_core.networks.weights_file import Weights, read_weights
from segmentation.backbone import EANResNet


def starting_weights(config: Config, backbone: Any) -> Weights | None:
    """Read the backbone's initial weights; None for random weights.

    All other parts load theirs through MMEngine, whose reader can execute code in a file: they are pointed to a file
    that was checked here.

    Raises:
        EANError: if weights are unavailable or damaged, or a file contains more than weights.
    """
    weights = None
    for init in pretrained_parts(config.model):
        read = read_weights(init["checkpoint"], arch=getattr(backbone, "arch", None))
        of_backbone = init is config.model.backbone.get("init_cfg")
        weights = read if of_backbone else weights
        if not (of_backbone and isinstance(backbone, EANResNet)):
            init["checkpoint"] = str(read.path)
    if config.get("load_from"):
        config.load_from = str(read_weights(config.load_from).path)
    return weights


def pretrained_parts(part: Any) -> Iterator[Any]:
    """Yield the init_cfg of every part of a model's config that loads a file."""
    if isinstance(part, list | tuple):
        for item in part:
            yield from pretrained_parts(item)
    elif isinstance(part, Mapping):
        if part.get("type") == "Pretrained" and "checkpoint" in part:
            yield part
        for item in part.values():
            yield from pretrained_parts(item)


def load_backbone(backbone: Any, weights: Weights | None) -> str:
    """Load an EANResNet's weights; any other backbone's are loaded by its init_cfg. Returns a description of them."""
    if weights is None:
        return "random weights: give --weights torchvision://resnet50, or a classifier.pth, for useful accuracy"
    return str(backbone.load(weights)) if isinstance(backbone, EANResNet) else weights.source


def normalize_as(config: Config, weights: Weights | None) -> list[str]:
    """Let the config normalize images as those of the weights; a note for each value that this changes."""
    theirs = None if weights is None else weights.normalization
    preprocessor, notes = config.model.get("data_preprocessor") or {}, []
    for name, values in zip(("mean", "std"), theirs or (), strict=False):
        scaled, configured = [round(255 * value, 3) for value in values], list(preprocessor.get(name) or ())
        if len(configured) == len(scaled) and np.allclose(scaled, configured, rtol=0, atol=1):
            continue
        preprocessor[name] = scaled
        notes.append(f"note: images are normalized with {name} {scaled}, as those of the weights, not {configured}")
    return notes
