"""A loaded data set: training and test images, classes, mean and standard deviation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from ean_core.data.image_sources import ArraySource, FolderSource
from ean_core.utils.errors import EANError


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set for image classification.

    Args:
        name: as given to `load_data`, e.g. "cifar100".
        classes: class names; label i means classes[i].
        mean: per channel, of images scaled to [0, 1].
        std: per channel, on the same scale.
        train: training images; the search takes its validation images from them (`search_split`).
        test: test images, used by neither training nor search.
        fingerprint: 16 hexadecimal digits that change with the data; a run does not resume on other data.
        content: 16 more that change with the images' content, where the fingerprint is of names and sizes only and
            there are not too many to look at; else None.
        note: origin of the files, if known; kept in the record of a run.
        val: int64 (N,), sorted positions in `train` of the folder's own validation images; None: `search_split` draws
            them.
        remarks: messages to print before a run, such as on skipped files.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: ArraySource | FolderSource
    test: ArraySource | FolderSource
    fingerprint: str
    content: str | None = None
    note: str = ""
    val: Tensor | None = None
    remarks: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images in a batch."""
        if isinstance(self.train, FolderSource):
            return (3, self.train.image_size, self.train.image_size)
        channels, height, width = self.train.images.shape[1:]
        return (channels, height, width)


def array_fingerprint(train: ArraySource, test: ArraySource) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the shapes, labels and pixels of both."""
    digest = hashlib.sha256()
    for part in (train, test):
        digest.update(str(tuple(part.images.shape)).encode())
        digest.update(part.labels.numpy().tobytes())
        digest.update(part.images.contiguous().numpy().data)
    return digest.hexdigest()[:16]


def refuse_image_size(name: str, image_size: int | None, *, side: int) -> None:
    """Raise if another image size than the data set's fixed `side` is requested."""
    if image_size not in (None, side):
        raise EANError(
            f"{name} images are {side}x{side} and image_size={image_size} was given: leave image_size out, or use "
            'the data set "folder" with your own images'
        )
