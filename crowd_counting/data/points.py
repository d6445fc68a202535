"""Images with a point on every head: what all crowd data sets come down to here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.data.read_image import check_image, read_size
from ean_core.utils.errors import EANError, legible


@dataclass(frozen=True, eq=False)
class CrowdImage:
    """An image file and its heads.

    Attributes:
        name: of the image, unique within its part.
        path: of its file.
        size: (H, W) in pixels, upright: a photo is turned the way its camera says.
        points: float32 (N, 2), x and y in pixels of the upright image; the centre of the top left pixel is (0, 0).
            What was annotated is kept, duplicates and points outside the image too: `count` is the number that is
            scored against.
    """

    name: str
    path: Path
    size: tuple[int, int]
    points: np.ndarray

    @property
    def count(self) -> int:
        """The annotated number of heads."""
        return len(self.points)


@dataclass(frozen=True, eq=False)
class CrowdData:
    """A data set.

    Attributes:
        name: such as "part_A".
        train: images to train and validate on.
        test: images to test on, used for nothing else.
        note: what is unusual about it, such as that images are missing; empty if nothing is.
        remarks: sentences to print before a run, as on files that were passed over.
    """

    name: str
    train: tuple[CrowdImage, ...]
    test: tuple[CrowdImage, ...]
    note: str = ""
    remarks: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of names, sizes and points; image contents are not read."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            for image in part:
                digest.update(f"{image.name} {image.size} {image.count}\n".encode(errors="surrogateescape"))
                digest.update(np.ascontiguousarray(image.points).tobytes())
            digest.update(b"--\n")
        return digest.hexdigest()[:16]


def make_image(path: Path, points: Any, *, where: str) -> CrowdImage:
    """An image with its points, its size read from the file's header.

    Args:
        path: of the image file; its stem becomes the name.
        points: anything that NumPy makes an (N, 2) array of numbers from; any empty array is no points.
        where: the points' origin, for an error.

    Raises:
        EANError: if the points are no such array, or the image cannot be opened.
    """
    return CrowdImage(path.stem, path, header_size(path), checked_points(points, where=where))


def checked_points(points: Any, *, where: str) -> np.ndarray:
    """float32 (N, 2) of finite numbers, or an `EANError` that names `where`."""
    try:
        array = np.asarray(points, dtype=np.float32)
    except (TypeError, ValueError):
        raise EANError(f"the points of {where} are no numbers: expected rows of x and y in pixels") from None
    if array.size == 0:
        return np.zeros((0, 2), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 2:
        raise EANError(f"the points of {where} have shape {array.shape}: expected (N, 2), rows of x and y in pixels")
    if not np.isfinite(array).all():
        raise EANError(f"the points of {where} hold NaN or infinity: every point needs an x and a y in pixels")
    return array


def header_size(path: Path) -> tuple[int, int]:
    """(H, W) of an image file once it is upright, without decoding it.

    Raises:
        EANError: if it is missing or no image.
    """
    if not path.exists():
        raise EANError(f"the image {legible(str(path))} does not exist: its annotations name it, so put it there")
    width, height = read_size(path)
    return height, width


def check_decodes(images: Iterable[CrowdImage]) -> None:
    """Read every image file to its end, so that a truncated one is found before hours of training.

    Raises:
        EANError: for the first file that cannot be decoded.
    """
    for one in images:
        check_image(one.path)


def total_count(images: Sequence[CrowdImage]) -> int:
    """Heads annotated in all images together."""
    return sum(image.count for image in images)
