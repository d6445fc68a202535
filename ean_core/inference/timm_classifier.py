"""Classifiers that are plain timm networks: their public weights, and the files of trimmed ones.

Such a network is timm's own module and has no stages of ours, so that any of timm's with SE can be trimmed, also those
that `ean_core.networks.timm_backbone` cannot adapt (MobileNetV3, EfficientNet).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.inference.explain.targets import class_target
from ean_core.inference.images import Preparation
from ean_core.inference.loaded_model import LoadedModel
from ean_core.io.network_meta import building, check_meta, load_strictly, read_spec
from ean_core.io.pth_file import write_pth
from ean_core.networks.network_file import check_finite
from ean_core.networks.timm_families import PREFIX, make_timm
from ean_core.networks.timm_weights import GOOGLES_STEM, timms_name
from ean_core.networks.weights_file import read_weights

FORMAT = "ean-timm-1"
SAME = "give those of the same network"


@dataclass(frozen=True)
class TimmSpec:
    """What builds a plain timm network.

    Attributes:
        arch: `timm:` and timm's name.
        num_classes: outputs of the head.
        in_channels: of the images.
        folded: names of the attention modules that were folded into the layers beside them.
    """

    arch: str
    num_classes: int
    in_channels: int = 3
    folded: tuple[str, ...] = ()

    def build(self) -> nn.Module:
        """The network with fresh weights, identities where attention was folded away."""
        network = make_timm(
            self.arch.removeprefix(PREFIX), num_classes=self.num_classes, in_chans=self.in_channels, pretrained=False
        )
        for name in self.folded:
            network.get_submodule(name)  # one that does not exist would be added
            network.set_submodule(name, nn.Identity())
        return network


def load_timm_weights(arch: str, weights: str | Path | None) -> LoadedModel:
    """timm's network with public weights.

    Args:
        arch: `timm:` and timm's name, with or without the tag of its weights.
        weights: a file of them; None: timm's cache, or a download.

    Raises:
        EANError: if there is no such network, or its weights cannot be had or do not fit.
    """
    name = arch.removeprefix(PREFIX)
    public = on_meta(name)  # a wrong name is not a failed download
    read = read_weights(weights or "imagenet", arch=arch)
    tensors = read.tensors
    if GOOGLES_STEM in tensors:
        tensors = {timms_name(key, list(public.blocks)): value for key, value in tensors.items()}
    network = make_timm(name, num_classes=classes_of(tensors, public))
    load_strictly(network, tensors, path=read.source, what="the network", advice=SAME)
    prepared = network.pretrained_cfg
    mean, std = read.normalization or (prepared["mean"], prepared["std"])
    channels, side, _ = prepared["input_size"]
    spec = TimmSpec(arch, network.num_classes, channels)
    content = {
        "format": FORMAT,
        "model": asdict(spec),
        "mean": list(mean),
        "std": list(std),
        "image_shape": [channels, side, side],
        "resize": round(side / (prepared.get("crop_pct") or 0.875)),
    }
    return as_loaded(Path(weights or name), network, spec, content)


def on_meta(name: str) -> nn.Module:
    """timm's network without memory for its weights.

    Raises:
        EANError: if there is none of this name.
    """
    with torch.device("meta"):
        return make_timm(name)


def classes_of(tensors: Mapping[str, Tensor], public: nn.Module) -> int:
    """Outputs of the head in weights of a network; those of the public ones where they have none."""
    head = public.pretrained_cfg.get("classifier")
    bias = tensors.get(f"{head}.bias") if isinstance(head, str) else None
    return public.num_classes if bias is None else len(bias)


def save_timm(path: Path, network: nn.Module, spec: TimmSpec, **info: Any) -> None:
    """Write a file for `ean_core.load`, atomically.

    Raises:
        EANError: if a weight is not finite.
    """
    check_finite(network, path)
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    write_pth(path, {"format": FORMAT, "model": asdict(spec), "state_dict": weights, **info})


def load_timm_file(path: Path, content: dict[str, Any]) -> LoadedModel:
    """The model of a file that `save_timm` wrote.

    Raises:
        EANError: if it is damaged.
    """
    spec = read_spec(TimmSpec, path, content)
    check_meta(path, content, classes=spec.num_classes, channels=spec.in_channels)
    with building(path):
        network = spec.build()
    load_strictly(network, content.pop("state_dict"), path=path, what="the network", advice=SAME)
    return as_loaded(path, network, spec, content)


def as_loaded(path: Path, network: nn.Module, spec: TimmSpec, content: dict[str, Any]) -> LoadedModel:
    """The network with what predicting needs; it has no stages of which Grad-CAM could draw the masks."""
    classes = tuple(content.get("classes") or map(str, range(spec.num_classes)))
    channels, side, _ = content["image_shape"]
    mean, std = tuple(content["mean"]), tuple(content["std"])
    return LoadedModel(
        path=path,
        kind="classifier",
        network=network.eval(),
        trunk=network,
        prepare=Preparation(channels, mean, std, side, content["resize"]),
        classes=classes,
        make_target=partial(class_target, classes=classes),
        output="logits",
        content=content,
    )
