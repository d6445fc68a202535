"""Looking at every image and mask of a data set, so that a bad file is named before training and not in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from ean_core.data.duplicates import check_duplicates
from ean_core.data.read_image import check_image
from ean_core.utils.errors import EANError, legible
from segmentation.data.masks import VOID, count_labels, read_mask
from segmentation.data.transforms import label_table
from segmentation.data.voc import VOCSegmentation

THREADS = 8


@dataclass(frozen=True)
class Contents:
    """What the pairs of a list hold.

    Attributes:
        pairs: how many.
        images: per label of the files, in how many masks it occurs.
        pixels: per label of the files, in how many pixels; index 255 is the border.
        fingerprint: of the names and the masks.
    """

    pairs: int
    images: np.ndarray
    pixels: np.ndarray
    fingerprint: str


def check_pairs(dataset: VOCSegmentation) -> Contents:
    """Decode every image and mask.

    Raises:
        EANError: for the first pair, in the order of the list, that does not decode, whose sizes differ, or whose mask
            has another label or another palette than VOC's.
    """
    pairs = [dataset.get_data_info(index) for index in range(len(dataset))]
    palette = dataset.METAINFO["palette"]

    def count(pair: dict[str, str]) -> np.ndarray:
        return check_pair(pair["img_path"], pair["seg_map_path"], palette)

    with ThreadPoolExecutor(THREADS) as pool:  # Pillow decodes outside of Python's lock
        counts = np.stack(list(pool.map(count, pairs)))
    digest = sha256()
    for pair, row in zip(pairs, counts, strict=True):
        digest.update(Path(pair["img_path"]).stem.encode() + row.tobytes())
    return Contents(len(pairs), (counts > 0).sum(axis=0), counts.sum(axis=0), digest.hexdigest()[:16])


def check_disjoint(train: VOCSegmentation, val: VOCSegmentation, *, refuse_copies: bool = True) -> list[str]:
    """Refuse a training list that holds images of the validation list, by name, as links or as copies.

    Args:
        train, val: the lists.
        refuse_copies: False: only warn of files under another name.

    Returns:
        warnings, see `check_duplicates`.

    Raises:
        EANError: naming the first.
    """
    files = {
        part: [Path(one.get_data_info(index)["img_path"]) for index in range(len(one))]
        for part, one in (("train", train), ("val", val))
    }
    seen = {path.stem for path in files["train"]}
    if both := [path.stem for path in files["val"] if path.stem in seen]:
        raise EANError(
            f"{both[0]} is in {train.ann_file} and in {val.ann_file} ({len(both)} images are): a score on trained "
            "images says nothing, take them out of one of the lists"
        )
    return check_duplicates(files, files["val"][0].parents[1], refuse=refuse_copies)


def pixels_per_class(dataset: VOCSegmentation, contents: Contents) -> np.ndarray:
    """Pixels of each class that a data set tells apart, as training sees them, int64 (classes,)."""
    table = label_table(dataset.label_map, reduce_zero_label=dataset.reduce_zero_label)
    seen = np.bincount(table, weights=contents.pixels, minlength=256).astype(np.int64)
    return seen[: len(dataset.metainfo["classes"])]


def lacking_classes(dataset: VOCSegmentation, contents: Contents, *, part: str) -> str:
    """A sentence on classes that are to be told apart and have no pixel; "" if all have some.

    A network cannot learn such a class, or be scored on it; with masks of 0 and 255 every pixel that counts is
    background, and every network has a mean IoU of 100.
    """
    counts, classes = pixels_per_class(dataset, contents), dataset.metainfo["classes"]
    lacking = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not lacking:
        return ""
    total = contents.pixels.sum()
    found = ", ".join(
        f"{label}{' (not counted)' if label == VOID else ''} {contents.pixels[label] / total:.1%}"
        for label in np.flatnonzero(contents.pixels)
    )
    hint = ""
    if contents.pixels[VOID] and len(lacking) >= len(classes) - 1:
        hint = f"; label {VOID} means 'not counted', so if it is your object, save it as the number of its class"
    if dataset.reduce_zero_label:
        hint += "; reduce_zero_label takes label 0 out of the count"
    return (
        f"the {part} masks have no pixel of {', '.join(lacking[:5])}{', ..' if len(lacking) > 5 else ''} "
        f"({len(lacking)} of the {len(classes)} classes to tell apart), only the labels "
        f"{found}{hint}; add images that show the classes, or tell fewer apart"
    )


def check_pair(image_path: str, mask_path: str, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Pixels per label of one pair, int64 (256,), after checking it."""
    size = check_image(image_path)
    mask = read_mask(mask_path, palette)
    if mask.shape[::-1] != size:
        raise EANError(
            f"the mask {legible(mask_path)} has {mask.shape[1]}x{mask.shape[0]} pixels and its image "
            f"{size[0]}x{size[1]}: give a mask for every pixel"
        )
    return count_labels(mask, mask_path, classes=len(palette))
