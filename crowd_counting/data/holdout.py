"""The validation images: a seeded tenth of the training images, as is usual (30 in part A, 40 in part B).

Of several parts trained on together the same images are held out as of each part alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crowd_counting.data.points import CrowdData, CrowdImage
from ean_core.data.seeding import generator_for
from ean_core.io.json_file import read_json
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic
from ean_core.utils.text import how_many

FORMAT = "ean-crowd-split-1"
Split = tuple[tuple[CrowdImage, ...], tuple[CrowdImage, ...]]


def hold_out(images: Sequence[CrowdImage], *, seed: int, share: float = 0.1) -> Split:
    """Split the training images into training and validation, each part on its own.

    Args:
        images: the training images.
        seed: the split depends on it and on the images' names, not on their order.
        share: fraction of a part's images to hold out, rounded, at least one image.

    Returns:
        (train, val): disjoint, together all images, in their original order.

    Raises:
        EANError: if a part has fewer than two images.
    """
    if not 0 < share < 1:
        raise EANError(f"the held-out share must lie between 0 and 1, got {share}")
    val_names: set[str] = set()
    for part in dict.fromkeys(image.part for image in images) or [""]:
        names = sorted(image.name for image in images if image.part == part)
        if len(names) < 2:
            of = f" of {part}" if part else ""
            raise EANError(
                f"cannot split {how_many(len(names), 'training image')}{of} into training and validation: give at "
                "least two"
            )
        count = min(len(names) - 1, max(1, round(share * len(names))))
        drawn = torch.randperm(len(names), generator=generator_for(seed, len(names)))[:count]
        val_names |= {names[position] for position in drawn.tolist()}
    return split_by_name(images, val_names)


def split_by_name(images: Sequence[CrowdImage], val_names: set[str]) -> Split:
    """Split images by name: (those not in `val_names`, those in `val_names`)."""
    return (
        tuple(image for image in images if image.name not in val_names),
        tuple(image for image in images if image.name in val_names),
    )


def save_split(path: Path, data: CrowdData, split: Split, *, seed: int) -> None:
    """Write a split file with the names of the training, validation and test images."""
    names = {part: [image.name for image in images] for part, images in zip(("train", "val"), split, strict=True)}
    record = {
        "format": FORMAT,
        "data": data.name,
        "fingerprint": data.fingerprint(),
        "seed": seed,
        **names,
        "test": [image.name for image in data.test],
    }
    write_atomic(path, json.dumps(record, indent=2) + "\n")


@dataclass(frozen=True)
class SplitFile:
    """The image names in a split file."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def load_split(path: Path, data: CrowdData) -> Split:
    """Read a split file, written by `save_split` or by hand.

    Raises:
        EANError: if it cannot be read, names unknown images, or leaves some out.
    """
    advice = "crowd_counting/prepare.py writes it" + ("" if not path.exists() else ', with lists "train" and "val"')
    record = checked(SplitFile, read_json(path, what="split", advice=advice), where=f"split {path}", advice=advice)
    train, val = set(record.train), set(record.val)
    names = {image.name for image in data.train}
    if train & val or train | val != names or not train or not val:
        wrong = sorted((train & val) | ((train | val) ^ names))
        raise EANError(
            f"split {path} must divide the {len(names)} training images of {data.name} into nonempty train and val; "
            f"{len(wrong)} names are in both, missing or unknown{f' (the first: {wrong[0]!r})' if wrong else ''}"
        )
    split = split_by_name(data.train, val)
    for part in {image.part for image in data.train}:
        if lacking := [
            name for name, images in zip(("train", "val"), split, strict=True) if not has_part(images, part)
        ]:
            raise EANError(f"split {path} has no image of {part} in {lacking[0]}: both need images of every part")
    return split


def has_part(images: Sequence[CrowdImage], part: str) -> bool:
    """Whether one of the images belongs to the part."""
    return any(image.part == part for image in images)
