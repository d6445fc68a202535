"""Image loading and resizing as in all of the project's commands, under the names used in mmsegmentation configs.

Within mmsegmentation's scope these replace the transforms of mmcv and mmsegmentation. Ordinary images and masks give
identical results, bit for bit. OpenCV, which the originals use, ignores transparency, truncates gray levels beyond
8 bits, blocks on a FIFO, and fails on an image that is a thousand times as long as wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmcv.image import rescale_size
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from ean_core.data.read_image import read_image
from segmentation.data.masks import VOID, read_labels
from segmentation.third_party import Resize


@TRANSFORMS.register_module(name="LoadImageFromFile")
class LoadImage(BaseTransform):
    """Reads `img_path` into `img`, uint8 (H, W, 3) in BGR order, as in mmcv.

    If `img` is already set, only its shape is added.

    Args:
        ignored: decoder arguments of mmcv's transform.
    """

    def __init__(self, **ignored: Any) -> None:
        super().__init__()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add img, img_shape and ori_shape.

        Raises:
            EANError: if the file cannot be read.
        """
        if "img" not in results:
            results["img"] = as_bgr(np.asarray(read_image(results["img_path"])))
        results["img_shape"] = results["ori_shape"] = results["img"].shape[:2]
        return results


def as_bgr(pixels: np.ndarray) -> np.ndarray:
    """Convert RGB pixels, uint8 (H, W, 3), to mmcv's BGR order."""
    return np.ascontiguousarray(pixels[..., ::-1])


@TRANSFORMS.register_module(name="LoadAnnotations", force=True)
class LoadLabels(BaseTransform):
    """Reads `seg_map_path` into `gt_seg_map`, uint8 (H, W), mapped to the data set's classes.

    Args:
        ignored: decoder arguments of mmsegmentation's transform.
    """

    def __init__(self, **ignored: Any) -> None:
        super().__init__()

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add gt_seg_map.

        Raises:
            EANError: if the file cannot be read or has no labels.
        """
        labels, _ = read_labels(results["seg_map_path"])
        table = label_table(results.get("label_map"), reduce_zero_label=results.get("reduce_zero_label", False))
        results["gt_seg_map"] = table[labels]
        results["seg_fields"].append("gt_seg_map")
        return results


def label_table(label_map: Mapping[int, int] | None, *, reduce_zero_label: bool) -> np.ndarray:
    """Lookup table from the labels in a mask file to training labels, uint8 (256,).

    Args:
        label_map: the data set's mapping from old to new labels; other labels are unchanged.
        reduce_zero_label: before mapping, ignore label 0 and decrease all others by one.
    """
    table = np.arange(256, dtype=np.uint8)
    if reduce_zero_label:
        table = np.where((table == 0) | (table == VOID), VOID, table - 1).astype(np.uint8)
    mapped = np.arange(256, dtype=np.uint8)
    for old, new in (label_map or {}).items():
        mapped[old] = new
    return mapped[table]


@TRANSFORMS.register_module(name="Resize", force=True)
class ResizeAtLeastOnePixel(Resize):
    """mmsegmentation's `Resize`, but keeping at least one pixel per side, however elongated the image."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize `img` and its masks as `Resize` does, to at least one pixel per side."""
        height, width = results["img"].shape[:2]
        if self.scale:
            wanted = rescale_size((width, height), tuple(self.scale)) if self.keep_ratio else self.scale
        else:
            wanted = tuple(
                int(side * factor + 0.5) for side, factor in zip((width, height), self.scale_factor, strict=True)
            )
        if min(wanted) >= 1:
            return super().transform(results)
        size = tuple(max(1, side) for side in wanted)
        return Resize(scale=size, keep_ratio=False, interpolation=self.interpolation).transform(results)
