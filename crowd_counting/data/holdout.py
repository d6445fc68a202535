"""The validation images: a seeded tenth of the training images, as is usual (270/30 of part A, 360/40 of part B)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crowd_counting.data.points import CrowdData, CrowdImage
from ean_core.data.seeding import generator_for
from ean_core.io.json_file import read_json
from ean_core.io.typed import checked
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic

FORMAT = "ean-crowd-split-1"
Split = tuple[tuple[CrowdImage, ...], tuple[CrowdImage, ...]]


def hold_out(images: Sequence[CrowdImage], *, seed: int, share: float = 0.1) -> Split:
    """Part the training images.

    Args:
        images: of the training part.
        seed: the draw depends on it and on the images' names, not on their order.
        share: of the images to hold out, rounded, at least one.

    Returns:
        (train, val): disjoint, together all images, each in the order given.

    Raises:
        EANError: if there are fewer than two images.
    """
    if len(images) < 2:
        raise EANError(
            f"{len(images)} training image(s) cannot be parted into training and validation: give two or more"
        )
    if not 0 < share < 1:
        raise EANError(f"the held-out share must be between 0 and 1, got {share}")
    count = min(len(images) - 1, max(1, round(share * len(images))))
    names = sorted(image.name for image in images)
    drawn = torch.randperm(len(names), generator=generator_for(seed, len(names)))[:count]
    held = {names[position] for position in drawn.tolist()}
    return parted(images, held)


def parted(images: Sequence[CrowdImage], held: set[str]) -> Split:
    """Training images, and those whose names are in `held`."""
    return (
        tuple(image for image in images if image.name not in held),
        tuple(image for image in images if image.name in held),
    )


def save_split(path: Path, data: CrowdData, split: Split, *, seed: int) -> None:
    """Write the names of the training, validation and test images."""
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
    """What a split file says."""

    train: tuple[str, ...]
    val: tuple[str, ...]


def load_split(path: Path, data: CrowdData) -> Split:
    """Read a split file: one of `save_split`, or one with another choice of names.

    Raises:
        EANError: if it cannot be read, names images that are not there, or leaves some out.
    """
    advice = "crowd_counting/prepare.py writes one" + ("" if not path.exists() else ', with lists "train" and "val"')
    record = checked(SplitFile, read_json(path, what="split", advice=advice), where=f"split {path}", advice=advice)
    train, val = set(record.train), set(record.val)
    known = {image.name for image in data.train}
    if train & val or train | val != known or not train or not val:
        wrong = sorted((train & val) | ((train | val) ^ known))
        raise EANError(
            f"split {path} must part the {len(known)} training images of {data.name} into train and val, none empty; "
            f"{len(wrong)} names are in both, missing or unknown{f', the first is {wrong[0]!r}' if wrong else ''}"
        )
    return parted(data.train, val)
