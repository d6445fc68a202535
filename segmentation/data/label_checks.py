"""Looking at every image and mask of a data set, so that a bad file is named before training and not in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from ean_core.inference.images import open_photo
from ean_core.utils.errors import EANError
from segmentation.data.masks import count_labels, read_mask
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


def check_disjoint(train: VOCSegmentation, val: VOCSegmentation) -> None:
    """Refuse a training list that holds images of the validation list.

    Raises:
        EANError: naming the first.
    """
    seen = {Path(train.get_data_info(index)["img_path"]).stem for index in range(len(train))}
    both = [name for i in range(len(val)) if (name := Path(val.get_data_info(i)["img_path"]).stem) in seen]
    if both:
        raise EANError(
            f"{both[0]} is in {train.ann_file} and in {val.ann_file} ({len(both)} images are): a score on trained "
            "images says nothing, take them out of one of the lists"
        )


def check_pair(image_path: str, mask_path: str, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Pixels per label of one pair, int64 (256,), after checking it."""
    size = open_photo(image_path).size  # upright, as mmcv's loader turns it
    mask = read_mask(mask_path, palette)
    if mask.shape[::-1] != size:
        raise EANError(
            f"the mask {mask_path} has {mask.shape[1]}x{mask.shape[0]} pixels and its image {size[0]}x{size[1]}: give "
            "a mask for every pixel"
        )
    return count_labels(mask, mask_path, classes=len(palette))
