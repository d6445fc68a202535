"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html), read from their files."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ean_core.data.image_data import ImageData, array_fingerprint, refuse_image_size
from ean_core.data.image_sources import ArraySource
from ean_core.data.unpickle import load_pickle
from ean_core.utils.errors import EANError

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # the paper's recipe normalizes both sets with these


@dataclass(frozen=True)
class _Layout:
    """Names that differ between the two archives."""

    torchvision: str  # class in torchvision.datasets, which has file names, checksums and the URL
    labels: str  # key of the labels in the data files


_LAYOUTS = {"cifar10": _Layout("CIFAR10", "labels"), "cifar100": _Layout("CIFAR100", "fine_labels")}


def load_cifar10(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """Read root/cifar-10-batches-py; arguments and errors as for `load_data`."""
    return _load("cifar10", root, download=download, image_size=image_size)


def load_cifar100(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """Read root/cifar-100-python with its 100 fine labels; arguments and errors as for `load_data`."""
    return _load("cifar100", root, download=download, image_size=image_size)


def _load(name: str, root: Path, *, download: bool, image_size: int | None) -> ImageData:
    from torchvision import datasets  # here, as it takes a second to import

    refuse_image_size(name, image_size, side=32)
    layout = _LAYOUTS[name]
    dataset = getattr(datasets, layout.torchvision)
    folder = root / dataset.base_folder
    if not folder.is_dir():
        _fetch(dataset, folder, download=download)

    names = load_pickle(folder / dataset.meta["filename"]).get(dataset.meta["key"])
    if not isinstance(names, list) or not names or not all(isinstance(label, str) for label in names):
        raise EANError(
            f"{folder / dataset.meta['filename']} has no list {dataset.meta['key']!r}: download the file again"
        )
    sources = [
        _read([folder / file for file, _ in files], layout.labels, classes=len(names))
        for files in (dataset.train_list, dataset.test_list)
    ]
    checksums = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
    original = all(_md5(folder / file) == md5 for file, md5 in checksums)
    return ImageData(
        name=name,
        classes=tuple(names),
        mean=MEAN,
        std=STD,
        train=sources[0],
        test=sources[1],
        fingerprint=array_fingerprint(*sources),
        note="original archive" if original else "files differ from the original archive (md5)",
    )


def _read(paths: list[Path], key: str, *, classes: int) -> ArraySource:
    """Read and concatenate data files."""
    images, labels = zip(*(_read_file(path, key, classes=classes) for path in paths), strict=True)
    pixels = torch.from_numpy(np.concatenate(images)).reshape(-1, 3, 32, 32)  # (N, 3072), one channel after the other
    return ArraySource(pixels, torch.from_numpy(np.concatenate(labels)))


def _read_file(path: Path, key: str, *, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Read and check one data file: images uint8 (N, 3072) and labels int64 (N,)."""
    content = load_pickle(path)
    if missing := [name for name in ("data", key) if name not in content]:
        raise EANError(f"{path} has no {missing[0]!r} but only {sorted(map(str, content))}: download the file again")
    data, labels = content["data"], content[key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        kind = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise EANError(f"{path} has images as {kind} where uint8 (N, 3072) was expected: download the file again")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise EANError(f"{path} has a {key!r} that is not a list of integers: download the file again")
    if len(labels) != len(data) or not labels:
        raise EANError(
            f"{path} has {len(data)} images and {len(labels)} labels, where equal numbers of at least 1 were "
            "expected: download the file again"
        )
    if min(labels) < 0 or max(labels) >= classes:
        raise EANError(
            f"{path} has labels from {min(labels)} to {max(labels)} where the archive names {classes} classes, 0 to "
            f"{classes - 1}: take both files from the same archive"
        )
    return data, np.array(labels, dtype=np.int64)


def _fetch(dataset: type[CIFAR10], folder: Path, *, download: bool) -> None:
    """Download with torchvision, which checks the MD5, or raise if not allowed to.

    The archive is unpacked into a temporary folder and then moved: a killed process leaves nothing half done, and if
    several processes download at once the first to finish wins.
    """
    advice = f"put the folder {dataset.base_folder} there, or name the folder that holds it with --data-root"
    if not download:
        raise EANError(f"no {dataset.base_folder} in {folder.parent.absolute()}: {advice}, or allow the download")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".download-") as temporary:
            dataset(temporary, train=True, download=True)
            with suppress(OSError):  # another process has put it there
                (Path(temporary) / dataset.base_folder).rename(folder)
        if not folder.is_dir():
            raise OSError(f"{folder} could not be created")
    except Exception as error:  # torchvision and urllib raise a dozen types here, from no network to a wrong md5
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(
            f"no {dataset.base_folder} in {folder.parent.absolute()}, and its download failed ({reason}): {advice}"
        ) from error


def _md5(path: Path) -> str:
    """MD5 of a file, as the archive publishes it: it identifies the file and says nothing about safety."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
