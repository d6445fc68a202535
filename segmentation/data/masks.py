"""Mask files as VOC has them: 8-bit PNGs of labels, with a palette that shows them in colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ean_core.data.read_image import open_image
from ean_core.utils.errors import EANError, legible
from ean_core.utils.files import atomic_path

VOID = 255
BORDER = (224, 224, 192)  # VOC's colour of pixels that are not counted


def save_mask(path: Path, labels: np.ndarray, palette: Sequence[Sequence[int]]) -> None:
    """Write labels, uint8 (H, W), atomically."""
    image = Image.fromarray(labels)
    colours = [value for colour in palette for value in colour]
    image.putpalette(colours + [0] * (3 * VOID - len(colours)) + [*BORDER])
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def read_labels(path: str | Path) -> tuple[np.ndarray, list[int] | None]:
    """A mask file's labels, uint8 (H, W), and the colors that they are shown in, if it says them.

    Raises:
        EANError: if it does not decode, or holds colors or more than 8 bits in place of labels.
    """
    try:
        with open_image(path) as image:
            image.load()
            mode, own, labels = image.mode, image.getpalette(), np.asarray(image)
    except EANError as error:
        raise EANError(str(error).replace("the image", "the mask", 1)) from error
    if mode not in ("P", "L"):
        raise EANError(
            f"the mask {legible(str(path))} is an image of mode {mode}: expected labels, as an 8-bit PNG with a "
            "palette or in gray"
        )
    return labels, own if mode == "P" else None


def read_mask(path: str | Path, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """A mask file's labels, uint8 (H, W).

    Raises:
        EANError: as `read_labels`, and if it shows the classes in other colors than `palette`.
    """
    labels, own = read_labels(path)
    if own is not None and not palette_fits(own, labels, palette):
        raise EANError(
            f"the mask {legible(str(path))} shows its labels in other colours than VOC's: they may be in another "
            "order; check them, and save them with VOC's palette or in gray"
        )
    return labels


def palette_fits(own: Sequence[int], labels: np.ndarray, palette: Sequence[Sequence[int]]) -> bool:
    """Whether the classes that occur in a mask have the right colours."""
    colours = np.asarray(own, dtype=np.int64).reshape(-1, 3)
    used = [label for label in np.unique(labels) if label < len(palette)]
    return all(label < len(colours) and colours[label].tolist() == list(palette[label]) for label in used)


def count_labels(labels: np.ndarray, path: str | Path, *, classes: int) -> np.ndarray:
    """Pixels per label, int64 (256,).

    Raises:
        EANError: for a label that is neither a class nor 255.
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    stray = [label for label in np.flatnonzero(counts) if label >= classes and label != VOID]
    if stray:
        raise EANError(
            f"the mask {path} has label {stray[0]} ({counts[stray[0]]} pixels): expected 0 to {classes - 1}, and "
            f"{VOID} for what is not counted"
        )
    return counts
