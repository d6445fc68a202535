"""Reading weights to start from, for all tasks in one way: files of this project and public ones, local or downloaded.

Only tensors and plain values are read, so that a file from the internet cannot run code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ean_core.io.download import fetch, is_url
from ean_core.io.network_meta import check_meta, read_spec
from ean_core.io.safe_load import load_tensors
from ean_core.io.safetensors_file import is_public
from ean_core.networks import ARCHITECTURES, is_timm, timm_backbone
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.files import sha256_of
from ean_core.utils.finite import first_not_finite
from ean_core.utils.optional_packages import require

PUBLIC = ("imagenet", "download")
"""Names of the public ImageNet weights of the architecture at hand; older recipes say "download"."""

TORCHVISION = "torchvision://"

EMA_KEYS = ("state_dict_ema", "ema_state_dict", "model_ema", "params_ema", "ema")
WRAPPERS = (*EMA_KEYS, "state_dict", "model_state_dict", "model", "net", "network", "params", "module")
"""Where training scripts keep the weights in their files. Averaged weights come first: they are what is evaluated."""

PREFIXES = ("module", "model", "net", "network", "backbone", "trunk", "encoder")
"""First parts of names that say what the network was part of: DataParallel, Lightning, mmsegmentation, a counter .."""

INSERTED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts that torch.compile and others put anywhere into a name."""


@dataclass(frozen=True)
class TrunkSpec:
    """What a file of ours says of its residual network, whatever the task; the fields are `create_model`'s."""

    arch: str
    attention: str | None = None
    sharing: str = "stage"
    scheme: str | None = None
    attention_options: Mapping[str, Any] = field(default_factory=dict)
    in_channels: int = 3


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights to start from.

    Attributes:
        source: what the user gave, for sentences.
        tensors: by name, without the prefixes of what the network was part of.
        path: the file, downloaded or given; None for weights that never were in one.
        spec: of the network, if the file is one of ours.
        content: what a file of ours says besides: mean, std, classes, ..
        averaged: the key of the file that held averaged weights, if those were taken.
    """

    source: str
    tensors: Mapping[str, Tensor]
    path: Path | None = None
    spec: TrunkSpec | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    averaged: str | None = None

    @property
    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation per channel of the images, in [0, 1]; None where the file does not say.

        Raises:
            EANError: if the file's are no such numbers.
        """
        if self.spec is None:
            return None
        meta = check_meta(self.source, self.content, channels=self.spec.in_channels)
        return None if meta.mean is None or meta.std is None else (meta.mean, meta.std)


def read_weights(source: str | Path, *, arch: str | None = None) -> Weights:
    """Read weights to start from.

    Args:
        source: a file: a network file of any task of this project, or public weights as .pth or .safetensors; an
            address, https://..; "torchvision://resnet50"; or "imagenet" for the public weights of `arch`.
        arch: of the network that is to get them.

    Raises:
        EANError: if they cannot be had or read, hold more than tensors and plain values, are no weights, or are not
            finite.
    """
    source = str(source)
    if source in PUBLIC and arch is not None and is_timm(arch):
        tensors = timm_backbone.download(arch.removeprefix(timm_backbone.PREFIX))
        return as_weights(tensors, source=source)
    path = locate_weights(source, arch=arch)
    if is_public(path):
        return as_weights(read_public_safetensors(path), source=source, path=path)
    return as_weights(load_tensors(path), source=source, path=path)


def locate_weights(source: str, *, arch: str | None) -> Path:
    """The file that a source names, downloaded if it is no file.

    Raises:
        EANError: if it cannot be downloaded.
    """
    if source in PUBLIC:
        return fetch_torchvision(arch or "")
    if source.startswith(TORCHVISION):
        return fetch_torchvision(source.removeprefix(TORCHVISION))
    if is_url(source):
        return fetch(source)
    if not Path(source).is_file():
        what = "is a folder" if Path(source).is_dir() else "does not exist"
        raise EANError(f"{source} {what}: give a file of weights, an address, or torchvision://resnet50")
    return Path(source)


def weights_identity(source: str, *, arch: str | None) -> str:
    """What tells weights from others, for a run's identity: the file's SHA-256, or the name of public ones.

    Raises:
        EANError: if there is no such file.
    """
    return source if source in PUBLIC else sha256_of(locate_weights(source, arch=arch))


def fetch_torchvision(name: str) -> Path:
    """torchvision's weights by name: "resnet50" (its first ones, as later ones are from a longer recipe), or with the
    name of others, as "resnet50.imagenet1k_v2".

    Raises:
        EANError: if there are none of this name, or they cannot be downloaded.
    """
    from torchvision.models import get_model_weights

    arch, _, version = name.lower().removesuffix("_nobias").partition(".")
    try:
        if arch in ARCHITECTURES and ARCHITECTURES[arch]["stem"] != "imagenet":
            raise ValueError(arch)
        url = get_model_weights(arch)[(version or "imagenet1k_v1").upper()].url
    except (ValueError, KeyError):
        raise EANError(
            f"there are no public ImageNet weights of {name!r}: name resnet50 or another of its family, or give a file"
        ) from None
    file = url.rpartition("/")[2]  # torchvision's files have the first digits of their SHA-256 in their names
    return fetch(url, name=file, sha256=Path(file).stem.rpartition("-")[2])


def as_weights(content: Any, *, source: str, path: Path | None = None) -> Weights:
    """The weights in a file's content, or in a state dict.

    Raises:
        EANError: if there are none, two tensors get one name, or one is not finite.
    """
    spec = spec_of(content, source)
    state, averaged = (content["state_dict"], None) if spec is not None else unwrapped(content)
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for given, value in state.items() if isinstance(state, Mapping) else ():
        if not isinstance(given, str) or not isinstance(value, Tensor):
            continue
        name = bare_name(given)
        if name in tensors:
            raise EANError(f"{source} holds two tensors called {name} ({names[name]} and {given}): save one network")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise EANError(f"{source} holds {given} in a form that is not trained on from: save plain tensors")
        tensors[name], names[name] = value, given
    if not tensors:
        raise EANError(
            f"{source} holds no weights of a network: give a network file of this project, torchvision's or timm's "
            "weights, or torchvision://resnet50"
        )
    if (name := first_not_finite((names[name], value) for name, value in tensors.items())) is not None:
        raise EANError(
            f"{source} holds numbers that are not finite, the first in {name}: its training diverged, so give other "
            "weights"
        )
    rest = {name: value for name, value in content.items() if name != "state_dict"} if spec is not None else {}
    return Weights(source, tensors, path, spec, rest, averaged)


def spec_of(content: Any, source: str) -> TrunkSpec | None:
    """What a network file of any of our tasks says of its network; None for other content.

    Raises:
        EANError: if what it says is damaged.
    """
    if not isinstance(content, Mapping) or not str(content.get("format", "")).startswith("ean-"):
        return None
    known = {one.name for one in dataclasses.fields(TrunkSpec)}
    model = content.get("model")
    if isinstance(model, Mapping):  # a task's own fields are nothing to another task
        model = {name: value for name, value in model.items() if name in known}
    return read_spec(TrunkSpec, source, {**content, "model": model})


def unwrapped(content: Any) -> tuple[Any, str | None]:
    """The state dict inside a training script's file, and the key of its averaged weights if those were taken."""
    averaged = None
    while isinstance(content, Mapping):
        key = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping) and content[key]), None)
        if key is None:
            break
        content, averaged = content[key], key if key in EMA_KEYS else averaged
    return content, averaged


def bare_name(name: str) -> str:
    """A tensor's name without what the network was wrapped in: module.backbone.conv1.weight is conv1.weight."""
    parts = [part for part in name.split(".") if part not in INSERTED]
    while len(parts) > 1 and parts[0] in PREFIXES:
        parts = parts[1:]
    return ".".join(parts)


def read_public_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, as the hub has them for timm's networks.

    Raises:
        EANError: if the file is damaged.
    """
    require("safetensors", extra="export", what=f"reading {path}")
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # on bad bytes its parts raise several kinds
        raise EANError(f"{path} is damaged or truncated ({first_line(error)}): get it again") from None
