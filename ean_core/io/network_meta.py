"""What a network file says besides its weights, checked before a network is built of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from torch import Tensor

from ean_core.io.typed import Positive, Range, checked
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.failures import out_of_memory

T = TypeVar("T")

MOST = 10**6
"""Classes, or pixels a side: more is damage."""

_ADVICE = "move it away and make it again"


@dataclass(frozen=True)
class NetworkMeta:
    """What files of all tasks say of the images that their network was trained on.

    Attributes:
        mean, std: per channel, of values in [0, 1]; None where the file does not say.
        classes: names, in the order of the outputs.
        image_shape: (channels, height, width).
        resize: the shorter side before the crop.
        epoch: after which the weights were kept.
    """

    mean: Annotated[tuple[float, ...], Range(1)] | None = None
    std: Annotated[tuple[Annotated[float, Range(1e-12)], ...], Range(1)] | None = None
    classes: tuple[str, ...] | None = None
    image_shape: tuple[Positive, Annotated[int, Range(1, MOST)], Annotated[int, Range(1, MOST)]] | None = None
    resize: Annotated[int, Range(1, MOST)] | None = None
    epoch: Annotated[int, Range(0)] | None = None
    recipe: Mapping[str, Any] | None = None
    validation: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None


def check_meta(path: str | Path, content: Mapping[str, Any], *, classes: int = 0, channels: int = 3) -> NetworkMeta:
    """What a file says of its images.

    Args:
        path: of the file, for the sentence.
        content: of the file.
        classes: that its network tells apart; 0 for a network that has none.
        channels: that its network takes.

    Raises:
        EANError: if a value is damaged, or does not go together with the network.
    """
    meta = checked(NetworkMeta, content, where=str(path), advice=_ADVICE)
    for name, values in (("mean", meta.mean), ("std", meta.std), ("image_shape", meta.image_shape)):
        found = None if values is None else values[0] if name == "image_shape" else len(values)
        if found not in (None, channels):
            raise EANError(
                f"{path} is damaged (its {name} is of {found} channels, its network of {channels}): {_ADVICE}"
            )
    if classes and meta.classes and len(meta.classes) != classes:
        raise EANError(
            f"{path} is damaged (it names {len(meta.classes)} classes, and its network has {classes}): {_ADVICE}"
        )
    return meta


def read_spec(cls: type[T], path: str | Path, content: Mapping[str, Any]) -> T:
    """The part of a file that builds its network.

    Args:
        cls: a dataclass of plain values.
        path: of the file, for the sentence.
        content: of the file.

    Raises:
        EANError: if it is missing, damaged, or has a field that this version does not know: another network would be
            built without it.
    """
    model = content.get("model")
    if not isinstance(model, Mapping):
        raise EANError(f"{path} does not say what network its weights are of: {_ADVICE}")
    unknown = sorted(set(map(str, model)) - {one.name for one in dataclasses.fields(cls)})
    if unknown:
        raise EANError(f"{path} says {unknown[0]!r} of its network, which this version does not know: update it")
    weights = content.get("state_dict")
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise EANError(f"{path} is damaged (it holds no weights): {_ADVICE}")
    spec = checked(cls, model, where=f"{path}: model", advice=_ADVICE)
    if any(isinstance(value, int) and abs(value) > MOST for value in vars(spec).values()):
        raise EANError(f"{path} is damaged (no network is as large as its model says): {_ADVICE}")
    return spec


@contextmanager
def building(path: str | Path) -> Iterator[None]:
    """Turn what a network's parts raise for values that no network has into a sentence that names the file.

    Raises:
        EANError: in place of their errors.
    """
    try:
        yield
    except EANError as error:
        raise EANError(f"{path} cannot be built: {error}") from None
    except Exception as error:  # options go to classes of anybody's
        if out_of_memory(error):
            raise
        raise EANError(f"{path} is damaged (its network cannot be built: {first_line(error)}): {_ADVICE}") from None
