"""Image data: `load_data` reads a data set, `search_split` splits it, `make_loader` yields batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ean_core.data.array_loader import ArrayLoader
from ean_core.data.augment import Augment
from ean_core.data.cifar import load_cifar10, load_cifar100
from ean_core.data.digits import load_digits
from ean_core.data.folder import load_folder, load_imagenet
from ean_core.data.image_data import ImageData
from ean_core.data.image_sources import ArraySource, FolderSource
from ean_core.data.loader import Loader, OneEpoch, Plan
from ean_core.data.split import class_balanced, search_split
from ean_core.utils.errors import EANError, unknown_name

__all__ = [
    "DATASETS",
    "ArraySource",
    "Augment",
    "FolderSource",
    "ImageData",
    "Loader",
    "OneEpoch",
    "class_balanced",
    "load_data",
    "make_loader",
    "search_split",
]


class LoadFunction(Protocol):
    """The function that reads a data set; arguments as for `load_data`."""

    def __call__(self, root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData: ...


# A new data set is a new file with such a function, and a line here.
DATASETS: dict[str, LoadFunction] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "imagenet": load_imagenet,
    "folder": load_folder,
}


def load_data(
    name: str, root: str | Path = "data", *, download: bool = True, image_size: int | None = None
) -> ImageData:
    """Read a data set.

    Args:
        name: one of `DATASETS`.
        root: for "cifar10" and "cifar100" the folder of the unpacked archive, or where to download it; for "imagenet"
            and "folder" the folder with train and val; not used for "digits".
        download: whether to download CIFAR's archive if it is missing.
        image_size: side of the images of "imagenet" and "folder" in pixels; None: 224.

    Returns:
        The training and test images, with classes, mean and standard deviation.

    Raises:
        EANError: for an unknown name, and for files that are missing, damaged or in another layout.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, list(DATASETS))
    return DATASETS[name](Path(root), download=download, image_size=image_size)


def make_loader(
    source: ArraySource | FolderSource,
    indices: Tensor | None,
    *,
    batch_size: int,
    train: bool,
    augment: Augment | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    workers: int = 4,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool | None = None,
    classes: Sequence[str] = (),
) -> Loader:
    """Make a loader of batches `{"inputs": uint8 (B, C, H, W), "labels": int64 (B,)}` on `device`.

    Training shuffles every epoch and gives every rank the same number of images. Evaluation visits every image once, in
    order; rank r takes every `world_size`-th image starting from the r-th, so sums over the ranks are exact.

    Args:
        source: `ImageData.train` or `.test`.
        indices: int64 (N,), the images to use; None: all.
        batch_size: images in a batch of one rank.
        train: shuffle, augment, and split evenly.
        augment: random augmentation; None: none for an `ArraySource`. When training, a `FolderSource` always uses the
            random resized crop in place of `crop_padding`, and by default a flip.
        seed: of order and augmentation, which depend on seed, epoch and image only.
        device: of the batches; an `ArraySource` is moved there once for all its loaders.
        workers: processes that decode a `FolderSource`, 0: none; an `ArraySource` needs none.
        rank: this process, of `world_size`.
        world_size: number of processes.
        drop_last: drop the last, smaller batch unless it is the only one; None: only when training.
        classes: class names, which MMEngine keeps in `dataset.metainfo`.

    Raises:
        EANError: for numbers out of range, for fewer images than ranks, and for `augment` without `train`; while
            iterating, for an image that cannot be decoded.
    """
    if augment is not None and not train:
        raise EANError("augment was given with train=False: evaluation does not augment, so leave one of them out")
    plan = Plan(batch_size=batch_size, train=train, seed=seed, rank=rank, world_size=world_size, drop_last=drop_last)
    device = torch.device(device)
    if isinstance(source, ArraySource):
        return ArrayLoader(source, indices, plan, augment=augment, device=device, classes=classes)
    from ean_core.data.folder_loader import FolderLoader  # here, as torchvision takes a second to import

    return FolderLoader(source, indices, plan, augment=augment, device=device, workers=workers, classes=classes)
