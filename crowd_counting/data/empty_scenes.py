"""Photos without people: in training they teach a counter to count nobody, in a test they show whether it does."""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crowd_counting.data.points import EMPTY, CrowdImage, header_size
from ean_core.data.find_images import find_images
from ean_core.utils.errors import EANError


def load_empty_scenes(folder: str | Path, annotated: Sequence[CrowdImage] = ()) -> tuple[CrowdImage, ...]:
    """Read the photos of a folder and its subfolders as images without heads, named "empty/PATH".

    Args:
        folder: where they are.
        annotated: the images of a data set, none of which may be among them.

    Raises:
        EANError: if the folder is missing or has no images, a file is not an image, or one is an annotated image.
    """
    folder = Path(folder)
    if folder.is_file():  # `find_images` would take it for the only photo
        raise EANError(f"{folder} is not a folder: give the folder of the photos without people")
    files = find_images([folder]).files
    check_not_annotated(files, annotated)
    nobody = np.zeros((0, 2), dtype=np.float32)
    return tuple(
        CrowdImage(f"{EMPTY}/{file.relative_to(folder).as_posix()}", file, header_size(file), nobody, EMPTY)
        for file in files
    )


def check_not_annotated(files: Sequence[Path], annotated: Sequence[CrowdImage]) -> None:
    """Refuse a file that is an annotated image, or a copy of one. Only files of equal size are read.

    Raises:
        EANError: naming the first of them.
    """
    by_size: dict[int, list[CrowdImage]] = {}
    for image in annotated:
        by_size.setdefault(image.path.stat().st_size, []).append(image)
    for file in files:
        for image in by_size.get(file.stat().st_size, ()):
            if filecmp.cmp(file, image.path, shallow=False):
                raise EANError(
                    f"{file} is the annotated image {image.path}: the folder is for photos "
                    "without people that are not in the data set, so remove it there"
                )
