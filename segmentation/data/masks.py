"""Mask files in VOC's format: 8-bit PNGs of labels, with a palette to show them in color."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ean_core.data.read_image import TURNS, open_image, orientation_of
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_path

VOID = 255
BORDER = (224, 224, 192)  # VOC's color of ignored pixels


def save_mask(path: Path, labels: np.ndarray, palette: Sequence[Sequence[int]]) -> None:
    """Write labels, uint8 (H, W), with a palette, atomically."""
    image = Image.fromarray(labels)
    colors = [value for color in palette for value in color]
    image.putpalette(colors + [0] * (3 * VOID - len(colors)) + [*BORDER])
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def read_labels(path: str | Path) -> tuple[np.ndarray, list[int] | None]:
    """Read a mask file's labels, uint8 (H, W), and its palette, if it has one.

    Raises:
        EANError: if it cannot be decoded, or contains colors or more than 8 bits instead of labels.
    """
    try:
        with open_image(path) as image:
            image.load()
            turn = TURNS.get(orientation_of(image))
            upright = image if turn is None else image.transpose(turn)  # as the image that it belongs to
            mode, palette, labels = image.mode, image.getpalette(), np.asarray(upright)
    except EANError as error:
        raise EANError(str(error).replace("the image", "the mask", 1)) from error
    if mode not in ("P", "L"):
        raise EANError(
            f"the mask {path} is an image of mode {mode}: expected labels, as an 8-bit PNG with a "
            "palette or in grayscale"
        )
    return labels, palette if mode == "P" else None


def read_mask(path: str | Path, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Read a mask file's labels, uint8 (H, W), and check its palette.

    Raises:
        EANError: as in `read_labels`, and if the file's palette differs from `palette` for a class that occurs.
    """
    labels, file_palette = read_labels(path)
    if file_palette is not None and not palette_fits(file_palette, labels, palette):
        raise EANError(
            f"the mask {path} shows its labels in colors other than VOC's, so they may be in another "
            "order: check them, and save the mask with VOC's palette or in grayscale"
        )
    return labels


def palette_fits(file_palette: Sequence[int], labels: np.ndarray, palette: Sequence[Sequence[int]]) -> bool:
    """Whether the classes that occur in a mask have the expected colors."""
    colors = np.asarray(file_palette, dtype=np.int64).reshape(-1, 3)
    used = [label for label in np.unique(labels) if label < len(palette)]
    return all(label < len(colors) and colors[label].tolist() == list(palette[label]) for label in used)


def count_labels(labels: np.ndarray, path: str | Path, *, classes: int) -> np.ndarray:
    """Count the pixels per label, int64 (256,).

    Raises:
        EANError: for a label that is neither a class nor 255.
    """
    counts = np.bincount(labels.ravel(), minlength=256)
    stray = [label for label in np.flatnonzero(counts) if label >= classes and label != VOID]
    if stray:
        raise EANError(
            f"the mask {path} has label {stray[0]} ({counts[stray[0]]} pixels): expected 0 to {classes - 1}, and "
            f"{VOID} for ignored pixels"
        )
    return counts
