"""What every data set is once loaded: a training part, a test part, and what a network must know about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from ean_core.data.sources import ArraySource, FolderSource
from ean_core.utils.errors import EANError


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set for image classification.

    Args:
        name: the name `load_data` knows it by, e.g. "cifar100".
        classes: class names; label i means classes[i].
        mean: per channel, of images scaled to [0, 1]; the model normalizes with it.
        std: per channel, on the same scale.
        train: the training part; the search takes its validation images out of it (`search_split`).
        test: the part that neither training nor the search may look at.
        fingerprint: 16 hexadecimal digits that change with the data; a run refuses to resume on other data.
        note: where the files come from, if that could be told; for the record of a run.
        val: int64 (N,), sorted positions in `train` of images that the folder itself sets apart to score schemes on;
            None: they are drawn.
        remarks: sentences to print before a run, as on files that were passed over.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: ArraySource | FolderSource
    test: ArraySource | FolderSource
    fingerprint: str
    note: str = ""
    val: Tensor | None = None
    remarks: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that the loaders give."""
        if isinstance(self.train, FolderSource):
            return (3, self.train.image_size, self.train.image_size)
        channels, height, width = self.train.images.shape[1:]
        return (channels, height, width)


def array_fingerprint(train: ArraySource, test: ArraySource) -> str:
    """First 16 hexadecimal digits of the SHA-256 of both parts' shapes, labels and all image bytes."""
    digest = hashlib.sha256()
    for part in (train, test):
        digest.update(str(tuple(part.images.shape)).encode())
        digest.update(part.labels.numpy().tobytes())
        digest.update(part.images.contiguous().numpy().data)
    return digest.hexdigest()[:16]


def refuse_image_size(name: str, image_size: int | None, *, side: int) -> None:
    """Raise for an image size that a data set of fixed `side` cannot have."""
    if image_size not in (None, side):
        raise EANError(
            f"{name} images are {side}x{side} and image_size={image_size} was asked for: leave image_size out, or use "
            'the data set "folder" with your own images'
        )
