"""Check every image and mask of a data set, so that a bad file is reported before training starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.data.duplicates import check_duplicates
from ean_core.data.read_image import check_image
from ean_core.utils.errors import EANError, legible
from segmentation.data.masks import VOID, count_labels, read_labels, read_mask
from segmentation.data.transforms import label_table
from segmentation.data.voc import VOCSegmentation

THREADS = 8


@dataclass(frozen=True)
class Contents:
    """Statistics of the image and mask pairs in a list.

    Attributes:
        pairs: number of pairs.
        images: int64 (256,), number of masks in which each label of the files occurs.
        pixels: int64 (256,), number of pixels of each label; index 255 is the border.
        fingerprint: hash of the names and label counts.
    """

    pairs: int
    images: np.ndarray
    pixels: np.ndarray
    fingerprint: str


def check_pairs(dataset: VOCSegmentation) -> Contents:
    """Decode every image and mask.

    Raises:
        EANError: for the first pair, in the order of the list, that does not decode, whose sizes differ, or whose mask
            has a label or palette that is not VOC's.
    """
    pairs = [dataset.get_data_info(index) for index in range(len(dataset))]
    palette = dataset.METAINFO["palette"] if dataset.has_voc_colors else None

    def count(pair: dict[str, str]) -> np.ndarray:
        return check_pair(pair["img_path"], pair["seg_map_path"], palette, labels=dataset.labels)

    with ThreadPoolExecutor(THREADS) as pool:  # Pillow releases the GIL while it decodes
        counts = np.stack(list(pool.map(count, pairs)))
    digest = sha256()
    for pair, row in zip(pairs, counts, strict=True):
        digest.update(Path(pair["img_path"]).stem.encode() + row.tobytes())
    return Contents(len(pairs), (counts > 0).sum(axis=0), counts.sum(axis=0), digest.hexdigest()[:16])


def check_disjoint(train: VOCSegmentation, val: VOCSegmentation, *, refuse_copies: bool = True) -> list[str]:
    """Refuse a training list that contains validation images, by name, as links or as copies.

    Args:
        train, val: the data sets.
        refuse_copies: False to only warn about copies under another name.

    Returns:
        warnings, see `check_duplicates`.

    Raises:
        EANError: naming the first image in both.
    """
    files = {
        part: [Path(dataset.get_data_info(index)["img_path"]) for index in range(len(dataset))]
        for part, dataset in (("train", train), ("val", val))
    }
    seen = {path.stem for path in files["train"]}
    if shared := [path.stem for path in files["val"] if path.stem in seen]:
        lists = [data.ann_file or data.data_prefix["img_path"] for data in (train, val)]
        raise EANError(
            f"{legible(shared[0])} is in {legible(lists[0])} and in {legible(lists[1])} ({len(shared)} images are): a "
            "score on training images is meaningless, so remove them from one of the two"
        )
    return check_duplicates(files, files["val"][0].parents[1], refuse=refuse_copies)


def skipped_files(datasets: Mapping[str, Any]) -> list[str]:
    """A sentence for each part, by name, whose folders hold files that are not used."""
    return [f"{part}: {text}" for part, dataset in datasets.items() if (text := getattr(dataset, "skipped", ""))]


def pixels_per_class(dataset: VOCSegmentation, contents: Contents) -> np.ndarray:
    """Pixels of each class after the data set's label mapping, int64 (classes,)."""
    table = label_table(dataset.label_map, reduce_zero_label=dataset.reduce_zero_label)
    seen = np.bincount(table, weights=contents.pixels, minlength=256).astype(np.int64)
    return seen[: len(dataset.metainfo["classes"])]


def missing_classes(dataset: VOCSegmentation, contents: Contents, *, part: str) -> str:
    """A message about classes without any pixel; "" if all classes occur.

    A network can neither learn such a class nor be scored on it: with masks of only 0 and 255 every counted pixel is
    background, and every network has a mean IoU of 100.
    """
    counts, classes = pixels_per_class(dataset, contents), dataset.metainfo["classes"]
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not missing:
        return ""
    total = contents.pixels.sum()
    present = ", ".join(
        f"{label}{' (ignored)' if label == VOID else ''} {contents.pixels[label] / total:.1%}"
        for label in np.flatnonzero(contents.pixels)
    )
    hint = ""
    if contents.pixels[VOID] and len(missing) >= len(classes) - 1:
        hint = f"; label {VOID} means 'ignored', so if it marks your object, save the number of its class instead"
    if dataset.reduce_zero_label:
        hint += "; reduce_zero_label makes label 0 ignored"
    return (
        f"the {part} masks have no pixel of {', '.join(missing[:5])}{', ..' if len(missing) > 5 else ''} "
        f"({len(missing)} of the {len(classes)} classes), only the labels "
        f"{present}{hint}; add images of these classes, or use fewer classes"
    )


def check_pair(image_path: str, mask_path: str, palette: Sequence[Sequence[int]] | None, *, labels: int) -> np.ndarray:
    """Check one pair and return its pixels per label, int64 (256,).

    Args:
        image_path, mask_path: the files.
        palette: colors that the mask's own palette must have; None for any.
        labels: the mask's labels are 0 to `labels` - 1, or 255.
    """
    size = check_image(image_path)
    mask = read_labels(mask_path)[0] if palette is None else read_mask(mask_path, palette)
    if mask.shape[::-1] != size:
        raise EANError(
            f"the mask {legible(mask_path)} has {mask.shape[1]}x{mask.shape[0]} pixels but its image has "
            f"{size[0]}x{size[1]}: the mask must cover every pixel"
        )
    return count_labels(mask, mask_path, classes=labels)
