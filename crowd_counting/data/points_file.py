"""Any other point-annotated set, in one JSON or CSV file.

JSON; paths are relative to the file, x and y in pixels:

    {"train": [{"image": "images/a.jpg", "points": [[12.5, 40.0], [80, 33]]}, {"image": "images/b.jpg", "points": []}],
     "test":  [{"image": "images/c.jpg", "points": [[7, 9]]}]}

A photo that its camera turned (EXIF) is shown upright, and so are its points to be.

CSV, a line for every point; an image without points has a line with empty x and y:

    part,image,x,y
    train,images/a.jpg,12.5,40.0
    train,images/a.jpg,80,33
    train,images/b.jpg,,
    test,images/c.jpg,7,9
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crowd_counting.data.points import CrowdData, CrowdImage, make_image
from crowd_counting.density import inside
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.text import how_many

PARTS = ("train", "test")
MOST_OUTSIDE = 0.05  # of the points may lie outside of their images without a word
COLUMNS = ["part", "image", "x", "y"]
Lists = dict[str, dict[str, Any]]  # part -> image -> points


def load_points_file(path: str | Path) -> CrowdData:
    """Read a data set from a .json or .csv file of points; the file's docstring shows both forms.

    Raises:
        EANError: if the file, an image of it or a line of it is missing or of another form.
    """
    path = Path(path)
    readers = {".json": read_json, ".csv": read_csv}
    if path.suffix.lower() not in readers:
        raise EANError(
            f"annotations {path} must be a .json or .csv file: crowd_counting/data/points_file.py shows both"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise EANError(f"annotations {path} do not exist: give the .json or .csv file of the points") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EANError(f"annotations {path} cannot be read ({error})") from None
    lists = readers[path.suffix.lower()](text, path)
    train, test = (images_of(lists[part], path) for part in PARTS)
    for part, images in zip(PARTS, (train, test), strict=True):
        if not images:
            raise EANError(f"annotations {path} have no {part} images: both {' and '.join(PARTS)} are needed")
    return CrowdData(path.stem, train, test, remarks=tuple(doubts(path, (*train, *test))))


def doubts(path: Path, images: Sequence[CrowdImage]) -> list[str]:
    """Sentences on points that can hardly be pixels of the upright images."""
    filled = [image for image in images if image.count]
    points = np.concatenate([image.points for image in filled]) if filled else np.zeros((0, 2), np.float32)
    larger = any(max(image.size) > 2 for image in filled)
    if larger and points.min() >= 0 and points.max() <= 1:
        return [
            f"warning: all {how_many(len(points), 'point')} of {path} lie within 0 to 1, as fractions of an image's "
            "sides: x and y are expected in pixels, so multiply them by width and height"
        ]
    outside = sum(int((~inside(image.points, image.size)).sum()) for image in filled)
    if outside > MOST_OUTSIDE * len(points):
        return [
            f"warning: {outside:,} of the {how_many(len(points), 'point')} of {path} lie outside of their images and "
            "are not trained on: x and y are expected in this order, in pixels of the image as it is shown upright"
        ]
    return []


def images_of(points: dict[str, Any], path: Path) -> tuple[CrowdImage, ...]:
    """The images of a part; their names are the paths as given, since folders may repeat file names."""
    made = (
        replace(make_image(path.parent / name, rows, where=f"{name} in {path}"), name=name)
        for name, rows in points.items()
    )
    return tuple(made)


def read_json(text: str, path: Path) -> Lists:
    """The lists of a JSON file."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers of thousands of digits, and of depth
        raise EANError(f"annotations {path} are no JSON ({first_line(error)})") from None
    try:
        lists: Lists = {}
        for part in PARTS:
            lists[part] = {}
            for entry in content[part]:
                add_image(lists[part], str(entry["image"]), entry["points"], path)
    except (KeyError, TypeError) as error:
        raise EANError(
            f'annotations {path} have another form ({type(error).__name__}: {error}): expected "train" and "test", '
            'lists of {"image": .., "points": [[x, y], ..]}'
        ) from None
    return lists


def add_image(images: dict[str, Any], name: str, points: Any, path: Path) -> None:
    """Enter an image, which must be the first of its name."""
    if name in images:
        raise EANError(f"annotations {path} name the image {name} twice in one part: give all its points together")
    images[name] = points


def read_csv(text: str, path: Path) -> Lists:
    """The lists of a CSV file."""
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
