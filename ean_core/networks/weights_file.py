"""Read pretrained weights for all tasks: files of this project and public ones, local or downloaded.

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
from ean_core.networks import timm_weights
from ean_core.networks.architectures import ARCHITECTURES, timm_name
from ean_core.networks.timm_weights import Normalization
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.files import sha256_of
from ean_core.utils.find_nonfinite import first_not_finite
from ean_core.utils.optional_packages import require
from ean_core.utils.shipped_files import model_path

PUBLIC = ("imagenet", "download")
"""Names for the public ImageNet weights of the current architecture; older recipes use "download"."""

TORCHVISION = "torchvision://"

EMA_KEYS = ("state_dict_ema", "ema_state_dict", "model_ema", "params_ema", "ema")
WRAPPERS = (*EMA_KEYS, "state_dict", "model_state_dict", "model", "net", "network", "params", "module")
"""Keys of the weights in files of training scripts. Averaged weights come first, since they are evaluated."""

PREFIXES = ("module", "model", "net", "network", "backbone", "trunk", "encoder")
"""Name prefixes of modules around the network: DataParallel, Lightning, mmsegmentation, a counter .."""

INSERTED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts that torch.compile and others insert anywhere in a name."""


@dataclass(frozen=True)
class FileSpec(TrunkSpec):
    """The residual network in a file of any task; files of networks for color images need not name the channels."""

    in_channels: int = 3


@dataclass(frozen=True, eq=False)
class Weights:
    """Pretrained weights.

    Attributes:
        source: as given by the user, for messages.
        tensors: name -> tensor, without the prefixes of wrapping modules.
        path: the local or downloaded file; None for weights from memory.
        spec: the network, for a file of this project.
        content: the other fields of a file of this project: mean, std, classes, ..
        averaged: key of the averaged weights in the file, if those were used.
        published: how the images of public weights were normalized, if that is known.
    """

    source: str
    tensors: Mapping[str, Tensor]
    path: Path | None = None
    spec: FileSpec | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    averaged: str | None = None
    published: Normalization | None = None

    @property
    def normalization(self) -> Normalization | None:
        """Mean and standard deviation per channel of the images, in [0, 1]; None if unknown.

        Raises:
            EANError: if the file's values are invalid.
        """
        if self.spec is None:
            return self.published
        meta = check_meta(self.source, self.content, channels=self.spec.in_channels)
        return None if meta.mean is None or meta.std is None else (meta.mean, meta.std)


def read_weights(source: str | Path, *, arch: str | None = None) -> Weights:
    """Read pretrained weights.

    Args:
        source: a network file of any task of this project, a shipped model's name, or public weights as .pth or
            .safetensors; a URL;
            "torchvision://resnet50"; or "imagenet" for the public weights of `arch`.
        arch: architecture of the network to load them into.

    Raises:
        EANError: if the weights cannot be downloaded or read, hold other objects, or are not finite.
    """
    source, name = str(source), None if arch is None else timm_name(arch)
    if source in PUBLIC and name is not None:
        return read_timms(name, source)
    path = locate_weights(source, arch=arch)
    weights = as_weights(read_tensors(path), source=source, path=path)
    if weights.spec is not None or name is None:
        return weights
    return dataclasses.replace(weights, published=timm_weights.normalization(name, weights.tensors))


def read_timms(name: str, source: str) -> Weights:
    """The public weights of a network of timm's: from timm's cache, a package that holds them, or a download.

    Raises:
        EANError: if they are damaged, or cannot be downloaded.
    """
    published = timm_weights.normalization(name)
    local = timm_weights.local_weights(name)
    if local is None:
        return dataclasses.replace(as_weights(timm_weights.download(name), source=source), published=published)
    path, origin = local
    tensors = read_tensors(path)
    if origin == timm_weights.CACHE:
        tensors = timm_weights.as_timms(name, tensors)
    weights = as_weights(tensors, source=f"{source} ({origin})", path=path)
    return dataclasses.replace(weights, published=published)


def normalization_of(source: str, *, arch: str) -> Normalization | None:
    """Mean and standard deviation that weights want their images normalized by; nothing is downloaded for "imagenet".

    Raises:
        EANError: as `read_weights`, for other sources.
    """
    name = timm_name(arch)
    if source not in PUBLIC:
        return read_weights(source, arch=arch).normalization
    return None if name is None else timm_weights.normalization(name)


def read_tensors(path: Path) -> Any:
    """The content of a file of ours or of public weights."""
    return read_public_safetensors(path) if is_public(path) else load_tensors(path)


def locate_weights(source: str, *, arch: str | None) -> Path:
    """The local file of a source, downloading it if needed.

    Raises:
        EANError: if it cannot be downloaded.
    """
    if source in PUBLIC:
        return fetch_torchvision(arch or "")
    if source.startswith(TORCHVISION):
        return fetch_torchvision(source.removeprefix(TORCHVISION))
    if is_url(source):
        return fetch(source)
    path = model_path(source)
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise EANError(f"{source} {problem}: give a file of weights, a URL, or torchvision://resnet50")
    return path


def weights_identity(source: str, *, arch: str | None) -> str:
    """Identifies weights in a run's identity: the file's SHA-256, or the name of public weights.

    Raises:
        EANError: if there is no such file.
    """
    return source if source in PUBLIC else sha256_of(locate_weights(source, arch=arch))


def fetch_torchvision(name: str) -> Path:
    """Download torchvision's weights: "resnet50" for version 1, or a given version such as "resnet50.imagenet1k_v2".

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
            f"there are no public ImageNet weights of {name!r}: give resnet50 or another of its family, or a file"
        ) from None
    file = url.rpartition("/")[2]  # torchvision's file names end with the first digits of their SHA-256
    return fetch(url, name=file, sha256=Path(file).stem.rpartition("-")[2])


def as_weights(content: Any, *, source: str, path: Path | None = None) -> Weights:
    """Extract the weights from a file's content or a state dict.

    Raises:
        EANError: if there are none, two tensors get the same name, or one is not finite.
    """
    spec = spec_of(content, source)
    state, averaged = (content["state_dict"], None) if spec is not None else unwrapped(content)
    tensors: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for raw_name, value in state.items() if isinstance(state, Mapping) else ():
        if not isinstance(raw_name, str) or not isinstance(value, Tensor):
            continue
        name = bare_name(raw_name)
        if name in tensors:
            raise EANError(f"{source} holds two tensors called {name} ({names[name]} and {raw_name}): save one network")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise EANError(f"{source} holds {raw_name} in an unsupported tensor format: save plain tensors")
        tensors[name], names[name] = value, raw_name
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


def spec_of(content: Any, source: str) -> FileSpec | None:
    """The network described in a file of any of our tasks; None for other content.

    Raises:
        EANError: if the description is damaged.
    """
    if not isinstance(content, Mapping) or not str(content.get("format", "")).startswith("ean-"):
        return None
    fields = {field.name for field in dataclasses.fields(FileSpec)}
    model = content.get("model")
    if isinstance(model, Mapping):  # skip the task's own fields
        model = {name: value for name, value in model.items() if name in fields}
    return read_spec(FileSpec, source, {**content, "model": model})


def unwrapped(content: Any) -> tuple[Any, str | None]:
    """The state dict in a training script's file, and the key of averaged weights if those were used."""
    averaged = None
    while isinstance(content, Mapping):
        key = next((key for key in WRAPPERS if isinstance(content.get(key), Mapping) and content[key]), None)
        if key is None:
            break
        content, averaged = content[key], key if key in EMA_KEYS else averaged
    return content, averaged


def bare_name(name: str) -> str:
    """Remove prefixes of wrapping modules: module.backbone.conv1.weight -> conv1.weight."""
    parts = [part for part in name.split(".") if part not in INSERTED]
    while len(parts) > 1 and parts[0] in PREFIXES:
        parts = parts[1:]
    return ".".join(parts)


def read_public_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file of plain tensors, as published for timm's networks.

    Raises:
        EANError: if the file is damaged.
    """
    require("safetensors", extra="export", what=f"reading {path}")
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # on bad bytes several kinds of errors occur
        raise EANError(f"{path} is damaged or truncated ({first_line(error)}): download it again") from None
