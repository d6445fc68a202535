"""The table that prepare.py prints about a crowd data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crowd_counting.data.holdout import Split
from crowd_counting.data.points import CrowdData, CrowdImage
from crowd_counting.density import inside
from ean_core.data.read_image import open_image
from ean_core.utils.screen import make_table, print_table, say


def describe_images(images: Sequence[CrowdImage]) -> dict[str, Any]:
    """Statistics of a part: images, people, sizes, grayscale images, duplicate points and points outside the image."""
    counts = [image.count for image in images]
    modes = Counter(mode_of(image.path) for image in images)
    sizes = np.array([image.size for image in images])
    return {
        "images": len(images),
        "grayscale": modes["L"],
        "people": sum(counts),
        "people_min": min(counts),
        "people_max": max(counts),
        "size_min": sizes.min(axis=0).tolist(),
        "size_max": sizes.max(axis=0).tolist(),
        "outside": sum(int((~inside(image.points, image.size)).sum()) for image in images),
        "duplicates": sum(image.count - len(np.unique(image.points, axis=0)) for image in images),
    }


def mode_of(path: Path) -> str:
    """Pillow's name for the pixel format, from the file's header."""
    with open_image(path) as image:
        return image.mode


def print_data(data: CrowdData, split: Split) -> None:
    """Print one row each for the training, validation and test images."""
    heads = ["images", "grayscale", "people", "people per image", "H x W, pixels", "points outside", "duplicate points"]
    table = make_table(data.name, ["part", *heads])
    for name, images in zip(("train", "val", "test"), (*split, data.test), strict=True):
        figures = describe_images(images)
        low, high = (f"{height} x {width}" for height, width in (figures["size_min"], figures["size_max"]))
        table.add_row(
            name,
            str(figures["images"]),
            str(figures["grayscale"]),
            f"{figures['people']:,}",
            f"{figures['people_min']} to {figures['people_max']}",
            low if low == high else f"{low} to {high}",
            str(figures["outside"]),
            str(figures["duplicates"]),
        )
    print_table(table)
    say(*filter(None, (data.note, *data.remarks)))
