"""The metadata of a network file, checked before the network is built, and its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, TypeVar

from torch import Tensor, nn

from ean_core.utils.checked_dataclasses import Positive, Range, checked
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.failure_messages import out_of_memory
from ean_core.utils.shipped_files import remedy

T = TypeVar("T")

MAX_SIZE = 10**6
"""Upper bound of plausible numbers of classes and of pixels per side."""

MIN_STD = 1e-12
"""Lower bound of plausible standard deviations."""


@dataclass(frozen=True)
class NetworkMeta:
    """The images that a network was trained on, as the files of all tasks describe them.

    Attributes:
        mean, std: per channel, of values in [0, 1]; None where the file does not say.
        classes: names, in the order of the outputs.
        image_shape: (channels, height, width).
        resize: length of the shorter side before the crop, in pixels.
        epoch: after which the weights were saved.
    """

    mean: Annotated[tuple[float, ...], Range(1)] | None = None
    std: Annotated[tuple[Annotated[float, Range(MIN_STD)], ...], Range(1)] | None = None
    classes: tuple[str, ...] | None = None
    image_shape: tuple[Positive, Annotated[int, Range(1, MAX_SIZE)], Annotated[int, Range(1, MAX_SIZE)]] | None = None
    resize: Annotated[int, Range(1, MAX_SIZE)] | None = None
    epoch: Annotated[int, Range(0)] | None = None
    recipe: Mapping[str, Any] | None = None
    validation: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None


def check_meta(path: str | Path, content: Mapping[str, Any], *, classes: int = 0, channels: int = 3) -> NetworkMeta:
    """Check and return a file's metadata.

    Args:
        path: of the file, for the error message.
        content: of the file.
        classes: number of the network's classes; 0 for a network without classes.
        channels: number of the network's input channels.

    Raises:
        EANError: if a value is damaged, or does not match the network.
    """
    meta = checked(NetworkMeta, content, where=str(path), advice=remedy(path))
    for name, values in (("mean", meta.mean), ("std", meta.std), ("image_shape", meta.image_shape)):
        count = None if values is None else values[0] if name == "image_shape" else len(values)
        if count not in (None, channels):
            raise EANError(
                f"{path} is damaged (its {name} has {count} channels and its network {channels}): {remedy(path)}"
            )
    if classes and meta.classes and len(meta.classes) != classes:
        raise EANError(
            f"{path} is damaged (it names {len(meta.classes)} classes, and its network has {classes}): {remedy(path)}"
        )
    return meta


def read_spec(cls: type[T], path: str | Path, content: Mapping[str, Any]) -> T:
    """Read the arguments that build a file's network.

    Args:
        cls: a dataclass of plain values.
        path: of the file, for the error message.
        content: of the file.

    Raises:
        EANError: if they are missing, damaged, or include an unknown field, without which another network would be
            built.
    """
    model = content.get("model")
    if not isinstance(model, Mapping):
        raise EANError(f"{path} does not say which network its weights belong to: {remedy(path)}")
    unknown = sorted(set(map(str, model)) - {field.name for field in dataclasses.fields(cls)})
    if unknown:
        raise EANError(f"{path} has the field {unknown[0]!r}, which this version does not know: update this project")
    weights = content.get("state_dict")
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise EANError(f"{path} is damaged (it holds no weights): {remedy(path)}")
    spec = checked(cls, model, where=f"{path}: model", advice=remedy(path))
    if any(isinstance(value, int) and abs(value) > MAX_SIZE for value in vars(spec).values()):
        raise EANError(f"{path} is damaged (a size of its network is implausibly large): {remedy(path)}")
    return spec


@contextmanager
def building(path: str | Path) -> Iterator[None]:
    """Turn errors from building a network into an `EANError` that names the file.

    Raises:
        EANError: in place of any other exception but running out of memory.
    """
    try:
        yield
    except EANError as error:
        raise EANError(f"{path} cannot be built: {error}") from None
    except Exception as error:  # options go to attention classes of any origin
        if out_of_memory(error):
            raise
        raise EANError(
            f"{path} is damaged (its network cannot be built: {first_line(error)}): {remedy(path)}"
        ) from None


def load_strictly(
    network: nn.Module, weights: Mapping[str, Tensor], *, path: str | Path, what: str, advice: str
) -> None:
    """Load a file's weights, which must be those of the network and no others.

    Args:
        network: changed in place.
        weights: a state dict; its metadata, if it has any, is respected.
        path: of the file, for the error message.
        what: the network, for the error message.
        advice: what to do where they do not fit, for the error message.

    Raises:
        EANError: if they do not fit, with the last line of what PyTorch says.
    """
    try:
        network.load_state_dict(weights)
    except (RuntimeError, KeyError) as error:
        last = shorten(str(error).splitlines()[-1], 200, placeholder=" ..")
        raise EANError(f"the weights in {path} do not fit {what} ({last}): {advice}") from None
