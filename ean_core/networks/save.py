"""Save a network from a training loop of one's own as a file that every command and `ean_core.load` take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from ean_core.io.network_meta import MAX_SIZE, MIN_STD
from ean_core.io.safetensors_file import SUFFIX, write_safetensors
from ean_core.networks.base import StagedNetwork
from ean_core.networks.network_file import FORMAT, ModelSpec, check_finite, save_network
from ean_core.utils.checked_dataclasses import Range, build, check_arguments
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_path

SUFFIXES = (".pth", SUFFIX)
WRAPPERS = ("module", "_orig_mod")
"""Where DistributedDataParallel and torch.compile keep the network."""


def save(
    network: nn.Module,
    path: str | Path,
    *,
    classes: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    image_size: int,
    resize: int | None = None,
    data: str = "own images",
) -> Path:
    """Write a classifier with all that is needed to use it: `ean_core.load`, Grad-CAM, export, testing, fine-tuning.

    Args:
        network: made by `ean_core.create_model`; also pruned, compiled, or wrapped by DistributedDataParallel.
        path: a .pth or .safetensors file, replaced atomically.
        classes: names, in the order of the outputs.
        mean, std: per channel, of images in [0, 1], with which the network's inputs were normalized.
        image_size: side of the square images in pixels.
        resize: length of the shorter side before the center crop of `image_size`; default `image_size`.
        data: what it was trained on, for readers.

    Returns:
        the path.

    Raises:
        EANError: for another kind of network, one that was changed after it was made, weights that are not finite, or
            values that do not belong together.
    """
    check_arguments("save", path=(path, str | Path))
    path, network = Path(path), unwrap(network)
    if path.suffix not in SUFFIXES or path.is_dir() or "\0" in str(path):
        raise EANError(f"a network is saved as {' or '.join(SUFFIXES)}, a file, got {path.name!r}")
    spec = spec_of_network(network)
    given = {"classes": classes, "mean": mean, "std": std, "image_size": image_size, "resize": resize, "data": data}
    values = build(SavedValues, {name: plain(value) for name, value in given.items()}, where="save", what="argument")
    check_values(spec, values)
    content: dict[str, Any] = {
        "classes": list(values.classes),
        "mean": list(values.mean),
        "std": list(values.std),
        "image_shape": [spec.in_channels, values.image_size, values.image_size],
        "resize": values.resize or values.image_size,
        "data": {"name": values.data},
    }
    write = save_safetensors if path.suffix == SUFFIX else save_network
    write(path, network, spec, **content)
    return path


def save_safetensors(path: Path, network: StagedNetwork, spec: ModelSpec, **info: Any) -> None:
    """Write a network file as `save_network` does, as .safetensors."""
    check_finite(network, path)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with atomic_path(path) as temporary:
        write_safetensors(temporary, weights, {"format": FORMAT, "model": vars(spec), **info})


def unwrap(network: nn.Module) -> StagedNetwork:
    """The network inside wrappers.

    Raises:
        EANError: if it was not made by `create_model`.
    """
    while not isinstance(network, StagedNetwork):
        inner = next((inner for name in WRAPPERS if isinstance(inner := getattr(network, name, None), nn.Module)), None)
        if inner is None:
            raise EANError(f"ean_core.save takes networks of ean_core.create_model, got a {type(network).__name__}")
        network = inner
    return network


def spec_of_network(network: StagedNetwork) -> ModelSpec:
    """The arguments that build a network as it is now, with its scheme and without pruned attention.

    Raises:
        EANError: if `create_model` with these arguments gives other tensors, or there are no weights.
    """
    if any(value.is_meta for value in network.state_dict().values()):
        raise EANError("this network is on the meta device, without weights: move it with to_empty and load some first")
    made_with = network.made_with
    if made_with is None or made_with["layout"] or network.fc is None:
        what = "has no head" if made_with and network.fc is None else "has a layout of its own"
        raise EANError(f"this network {what}, so that its file cannot be used alone: save its state_dict instead")
    fields = {name: value for name, value in made_with.items() if name != "layout"}
    scheme = network.scheme.text if fields["attention"] else None
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    for pruned in (False, True):
        spec = ModelSpec(**fields, scheme=scheme, pruned=pruned)
        with torch.device("meta"):
            if {name: value.shape for name, value in spec.build().state_dict().items()} == shapes:
                return spec
    raise EANError(
        "this network was changed after create_model (its tensors have other names or shapes), so that its file could "
        "not be loaded: save its state_dict instead"
    )


@dataclass(frozen=True)
class SavedValues:
    """The arguments of `save` beside the network, within the limits of `NetworkMeta`, which loading requires."""

    classes: tuple[Annotated[str, Range(1)], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: Annotated[int, Range(1, MAX_SIZE)]
    resize: Annotated[int, Range(1, MAX_SIZE)] | None
    data: str


def plain(value: Any) -> Any:
    """A tensor, a NumPy array or a NumPy number as Python's own values; others as they are."""
    return value.tolist() if isinstance(value, Tensor | np.ndarray | np.generic) else value


def check_values(spec: ModelSpec, values: SavedValues) -> None:
    """Refuse what does not belong to the network.

    Raises:
        EANError: with what was expected.
    """
    classes = values.classes
    if len(classes) != spec.num_classes or len(set(classes)) < len(classes):
        raise EANError(
            f"classes must be {spec.num_classes} different names, got {len(classes)}: {list(classes)[:5]} .."
        )
    for name, numbers, least in (("mean", values.mean, 0.0), ("std", values.std, MIN_STD)):
        if len(numbers) != spec.in_channels or not all(least <= number <= 1 for number in numbers):
            above = " and above 0" if least else ""
            raise EANError(
                f"{name} must be {spec.in_channels} numbers from 0 to 1{above}, one per channel, got {list(numbers)}"
            )
    if values.resize is not None and values.resize < values.image_size:
        raise EANError(f"resize must be at least image_size, got {values.resize} and {values.image_size}")
