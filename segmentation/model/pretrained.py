"""Weights that a backbone starts from: the project's classifiers as they are, and public ImageNet weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader

from ean_core.io.network_meta import read_spec
from ean_core.networks import stages_blocks
from ean_core.networks.checkpoint import ModelSpec, read_weights, weights_in
from ean_core.networks.pretrained import DOWNLOAD, load_torchvision_weights
from ean_core.scheme import as_scheme
from ean_core.utils.errors import EANError, first_line

if TYPE_CHECKING:
    from segmentation.backbone import EANResNet

TAKES = "a backbone takes a classifier.pth, a file of torchvision's or timm's weights, or torchvision://resnet50"


def load_weights(backbone: EANResNet, source: str) -> str:
    """Copy weights into a backbone.

    Args:
        backbone: its network is changed in place.
        source: a classifier.pth or supernet.pth, a file of torchvision's or timm's weights, an address such as
            torchvision://resnet50, or "download", which fetches those of timm's networks.

    Returns:
        a line that says what was loaded and what was left out.

    Raises:
        EANError: if the file is missing, damaged or of another network; nothing is changed then.
    """
    if source == DOWNLOAD:
        return f"{source}: {load_torchvision_weights(backbone.network, source)}"
    if "://" in source:
        state, classifier = weights_in(download(source), source, takes=TAKES)
    else:
        state, classifier = read_weights(source, takes=TAKES)
    if classifier is not None:
        return f"{source}: {load_classifier(backbone, classifier, source)}"
    stages = len(backbone.network.stages_blocks)
    state = {name: value for name, value in state.items() if not beyond(name, stages)}
    report = load_torchvision_weights(backbone.network, state)
    return f"{source}: {dataclasses.replace(report, unused=tuple(n for n in report.unused if n[:3] != 'fc.'))}"


def download(source: str) -> Any:
    """Weights from an address that MMEngine knows how to read."""
    try:
        return CheckpointLoader.load_checkpoint(source, map_location="cpu", logger="silent")
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise EANError(
            f"{source} cannot be downloaded ({first_line(error)}): download it elsewhere and give the file"
        ) from None


def load_classifier(backbone: EANResNet, content: Mapping[str, Any], source: str) -> str:
    """Copy a network file's weights; every tensor of the backbone must be in it.

    Only where the classifier has no attention at all may the backbone have some, which then starts from its own
    initial weights, as it does with public weights. Shared attention fits whatever blocks it is connected to; where
    the classifier's connections are others, the line says so.
    """
    spec, state = read_spec(ModelSpec, source, content), content["state_dict"]
    if spec.arch != backbone.arch:
        raise EANError(f"{source} is a {spec.arch} and the backbone a {backbone.arch}: give arch={spec.arch!r}")
    own = backbone.network.state_dict()
    fresh = [name for name in own if ".attention." in name and name not in state and spec.attention is None]
    wanted = [name for name in own if name not in fresh]
    wrong = [name for name in wanted if state.get(name, torch.empty(0)).shape != own[name].shape]
    same = (spec.attention, dict(spec.attention_options)) == (backbone.attention, backbone.attention_options)
    if wrong or not (same or spec.attention is None):
        has = f"attention {spec.attention} and scheme {spec.scheme or 'share-full'}" if spec.attention else "none"
        raise EANError(
            f"{source} ({has}) does not fit the backbone (attention {backbone.attention}, scheme "
            f"{backbone.network.scheme}): give it the attention and the scheme that the file was trained with"
        )
    backbone.network.load_state_dict({**own, **{name: state[name] for name in wanted}})
    trained, path = as_scheme(spec.scheme, stages_blocks(spec.arch)), backbone.network.scheme
    other = spec.attention is not None and trained.bits[: len(path)] != path.bits
    unused = sorted({name.rsplit(".", 1)[0] if name.startswith("fc.") else name for name in state if name not in own})
    return "; ".join(
        [f"{len(wanted)} of the backbone's {len(own)} tensors loaded"]
        + ([f"it was trained with the connections {trained}, and the backbone has {path}"] if other else [])
        + ([f"left at their initial value: {', '.join(fresh)}"] if fresh else [])
        + ([f"in the file but not used: {', '.join(unused)}"] if unused else [])
    )


def beyond(name: str, stages: int) -> bool:
    """Whether a weight belongs to a stage that the backbone was built without."""
    head = name.removeprefix("module.").split(".", 1)[0]
    return head.startswith("layer") and head[5:].isdigit() and int(head[5:]) > stages
