"""Images with a point on every head: the common form of all crowd data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.data.read_image import check_image, read_size
from ean_core.io.made_from import digest_of_files
from ean_core.utils.errors import EANError

EMPTY = "empty"
"""The part that photos without people belong to."""


@dataclass(frozen=True, eq=False)
class CrowdImage:
    """An image file and its annotated heads.

    Attributes:
        name: name of the image, unique within its data set.
        path: image file.
        size: (H, W) in pixels, after applying the EXIF orientation.
        points: float32 (N, 2), x and y in pixels of the upright image; the center of the top left pixel is (0, 0).
            All annotations are kept, including duplicates and points outside the image, since `count` is the number
            that predictions are scored against.
        part: the part it belongs to, such as "part_A", where a data set has several; errors are given for each.
    """

    name: str
    path: Path
    size: tuple[int, int]
    points: np.ndarray
    part: str = ""

    @property
    def count(self) -> int:
        """Number of annotated heads, the image's true count."""
        return len(self.points)


@dataclass(frozen=True, eq=False)
class CrowdData:
    """A crowd-counting data set.

    Attributes:
        name: name such as "part_A", or "part_A+part_B" for several parts together.
        train: images to train and validate on, those without people among them.
        test: images used only for testing.
        note: anything unusual about the data, such as missing images; empty otherwise.
        remarks: messages to print before a run, such as files that were skipped.
    """

    name: str
    train: tuple[CrowdImage, ...]
    test: tuple[CrowdImage, ...]
    note: str = ""
    remarks: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of names, sizes and points; pixels are not read."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            for image in part:
                digest.update(f"{image.name} {image.size} {image.count}\n".encode(errors="surrogateescape"))
                digest.update(np.ascontiguousarray(image.points).tobytes())
            digest.update(b"--\n")
        return digest.hexdigest()[:16]

    @cached_property
    def content(self) -> str:
        """16 hexadecimal digits that change with the content of the image files."""
        return digest_of_files((image.path for image in (*self.train, *self.test)), digits=16)

    @cached_property
    def empty_scenes(self) -> dict[str, Any] | None:
        """How many training images are photos without people, and digits that change with their content."""
        paths = [image.path for image in self.train if image.part == EMPTY]
        return {"images": len(paths), "content": digest_of_files(paths)} if paths else None


def make_image(path: Path, points: Any, *, where: str) -> CrowdImage:
    """Create a `CrowdImage`, with the size from the file's header.

    Args:
        path: image file; its stem becomes the name.
        points: anything that NumPy converts to an (N, 2) array of numbers; any empty array means no points.
        where: origin of the points, for error messages.

    Raises:
        EANError: if the points have another form, or the image cannot be opened.
    """
    return CrowdImage(path.stem, path, header_size(path), checked_points(points, where=where))


def checked_points(points: Any, *, where: str) -> np.ndarray:
    """Convert points to finite float32 (N, 2), or raise an `EANError` that names `where`."""
    try:
        array = np.asarray(points, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise EANError(f"the points of {where} are not numbers: expected rows of x and y in pixels") from None
    if array.size == 0:
        return np.zeros((0, 2), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != 2:
        raise EANError(f"the points of {where} have shape {array.shape}: expected (N, 2), rows of x and y in pixels")
    if not np.isfinite(array).all():
        raise EANError(f"the points of {where} contain NaN or infinity: every point needs an x and a y in pixels")
    return array


def header_size(path: Path) -> tuple[int, int]:
    """Read (H, W) of an image file after its EXIF orientation, without decoding it.

    Raises:
        EANError: if the file is missing or not an image.
    """
    if not path.exists():
        raise EANError(f"the image {path} does not exist, but the annotations name it: add the file")
    width, height = read_size(path)
    return height, width


def check_decodes(images: Iterable[CrowdImage]) -> None:
    """Decode every image file completely, so that a truncated one is found before hours of training.

    Raises:
        EANError: for the first file that cannot be decoded.
    """
    for image in images:
        check_image(image.path)


def total_count(images: Sequence[CrowdImage]) -> int:
    """Total number of annotated heads."""
    return sum(image.count for image in images)
