"""Custom data sets: images with head points in one JSON or CSV file.

JSON, with image paths relative to the file, and x and y in pixels:

    {"train": [{"image": "images/a.jpg", "points": [[12.5, 40.0], [80, 33]]}, {"image": "images/b.jpg", "points": []}],
     "test":  [{"image": "images/c.jpg", "points": [[7, 9]]}]}

Images are rotated by their EXIF orientation first; points refer to the upright image.

CSV, one line per point; an image without points has one line with empty x and y:

    part,image,x,y
    train,images/a.jpg,12.5,40.0
    train,images/a.jpg,80,33
    train,images/b.jpg,,
    test,images/c.jpg,7,9
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crowd_counting.data.points import CrowdData, CrowdImage, make_image
from crowd_counting.density import inside
from ean_core.io.json_file import parse_json, read_text
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many

PARTS = ("train", "test")
_ADVICE = "give a .json or .csv file of points as crowd_counting/data/points_file.py shows them"
MAX_OUTSIDE = 0.05  # fraction of points that may lie outside their images without a warning
COLUMNS = ["part", "image", "x", "y"]
Lists = dict[str, dict[str, Any]]  # part -> image -> points


def load_points_file(path: str | Path) -> CrowdData:
    """Read a data set from a .json or .csv file of points; the module's docstring shows both formats.

    Raises:
        EANError: if the file or an image is missing, or an entry is malformed.
    """
    path = Path(path)
    readers = {".json": read_json, ".csv": read_csv}
    if path.suffix.lower() not in readers:
        raise EANError(
            f"annotations {path} must be a .json or .csv file: crowd_counting/data/points_file.py shows both formats"
        )
    text = read_text(path, what="the file of annotations", advice=_ADVICE)
    lists = readers[path.suffix.lower()](text, path)
    train, test = (make_images(lists[part], path) for part in PARTS)
    for part, images in zip(PARTS, (train, test), strict=True):
        if not images:
            raise EANError(f"annotations {path} have no {part} images: {' and '.join(PARTS)} images are both needed")
    return CrowdData(path.stem, train, test, remarks=tuple(point_warnings(path, (*train, *test))))


def point_warnings(path: Path, images: Sequence[CrowdImage]) -> list[str]:
    """Warnings about points that are unlikely to be pixel coordinates of the upright images."""
    filled = [image for image in images if image.count]
    points = np.concatenate([image.points for image in filled]) if filled else np.zeros((0, 2), np.float32)
    larger = any(max(image.size) > 2 for image in filled)
    if larger and points.min() >= 0 and points.max() <= 1:
        return [
            f"warning: all {how_many(len(points), 'point')} of {path} lie between 0 and 1, like fractions of the "
            "image size: x and y must be in pixels, so multiply them by width and height"
        ]
    outside = sum(int((~inside(image.points, image.size)).sum()) for image in filled)
    if outside > MAX_OUTSIDE * len(points):
        return [
            f"warning: {outside:,} of the {how_many(len(points), 'point')} of {path} lie outside their images and "
            "are not used for training: x comes first, then y, both in pixels of the upright image"
        ]
    return []


def make_images(points: dict[str, Any], path: Path) -> tuple[CrowdImage, ...]:
    """Create the images of a part, named by their paths, since file names may repeat across folders."""
    images = (
        replace(make_image(path.parent / name, rows, where=f"{name} in {path}"), name=name)
        for name, rows in points.items()
    )
    return tuple(images)


def read_json(text: str, path: Path) -> Lists:
    """Read the images and points of both parts from JSON."""
    content = parse_json(text, where=f"the file of annotations {path}", advice=_ADVICE)
    try:
        lists: Lists = {}
        for part in PARTS:
            lists[part] = {}
            for entry in content[part]:
                add_image(lists[part], str(entry["image"]), entry["points"], path)
    except (KeyError, TypeError) as error:
        raise EANError(
            f'annotations {path} have the wrong form ({type(error).__name__}: {error}): expected "train" and "test", '
            'lists of {"image": .., "points": [[x, y], ..]}'
        ) from None
    return lists


def add_image(images: dict[str, Any], name: str, points: Any, path: Path) -> None:
    """Add an image, whose name must be new."""
    if name in images:
        raise EANError(f"annotations {path} list the image {name} twice in one part: give all its points in one entry")
    images[name] = points


def read_csv(text: str, path: Path) -> Lists:
    """Read the images and points of both parts from CSV."""
    lines = csv.reader(text.splitlines())
    header = next(lines, [])
    if [name.strip() for name in header] != COLUMNS:
        raise EANError(
            f"annotations {path} start with {','.join(header)!r}: the first line must be {','.join(COLUMNS)}"
        )
    lists: Lists = {part: {} for part in PARTS}
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        try:
            part, image, x, y = (value.strip() for value in line)
            points = lists[part].setdefault(image, [])
            if x or y:
                points.append((float(x), float(y)))
        except (KeyError, ValueError):
            raise EANError(
                f"annotations {path}, line {number}: expected train or test, an image, x and y, got {','.join(line)!r}"
            ) from None
    return lists
