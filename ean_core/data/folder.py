"""Image files in class folders: ImageNet's layout, root/train/<class>/*.JPEG and root/val/<class>/*.JPEG.

Of a user's own images root/<class>/*.jpg will do as well.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from ean_core.data.image_data import ImageData
from ean_core.data.seeding import generator_for
from ean_core.data.sources import FolderSource
from ean_core.utils.errors import EANError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as published weights expect
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
HELD_OUT = 0.2  # of each class, the test part of a folder that has none
TEST_PARTS = ("val", "valid", "validation", "test")
_LAYOUT = "expected root/train/<class>/<image files> and root/val/<class>/<image files>"
_FLAT = "expected root/<class>/<image files>, or root/train/<class>/<image files> and perhaps root/val likewise"

Files = list[tuple[str, int, int]]  # (path, size in bytes, label)


def load_imagenet(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """Read root/train and root/val (or root/test), one folder a class; `download` is not used. See `load_data`."""
    return _load("imagenet", root, image_size=image_size, may_split=False)


def load_folder(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """As ImageNet, or with the class folders in root itself.

    Without root/val a fifth of each class becomes the test part, always the same.
    """
    return _load("folder", root, image_size=image_size, may_split=True)


def _load(name: str, root: Path, *, image_size: int | None, may_split: bool) -> ImageData:
    size, layout = 224 if image_size is None else image_size, _FLAT if may_split else _LAYOUT
    if not root.is_dir():
        raise EANError(f"no folder {root.absolute()}: {layout}, so put the images there or give another --data-root")
    flat = may_split and not (root / "train").is_dir()
    if not (root / "train").is_dir() and not flat:
        found = ", ".join(_folders(root)[:5]) or "no folders"
        raise EANError(f"no folder train in {root.absolute()} but {found}: {_LAYOUT}")
    classes, train = _scan(root if flat else root / "train", layout)
    if len(classes) == 1:
        raise EANError(
            f"{root.absolute()} has one class folder, {classes[0]!r}: classification needs two or more; {layout}"
        )
    # ImageNet's own test images have no labels, so that val, where there is one, is the part to test on.
    test_folder = None if flat else next((root / part for part in TEST_PARTS if (root / part).is_dir()), None)
    if test_folder is not None:
        test_classes, test = _scan(test_folder, layout)
        _same_classes(root / "train", classes, test_folder, test_classes)
    elif may_split:
        train, test = _hold_out(train, classes)
    else:
        raise EANError(f"no folder val or test in {root.absolute()}: {_LAYOUT}")
    # What a user's camera took is shown upright, as tools/predict.py will show it; ImageNet is what was published.
    parts = [_source(files, image_size=size, upright=name == "folder") for files in (train, test)]
    return ImageData(
        name=name,
        classes=classes,
        mean=MEAN,
        std=STD,
        train=parts[0],
        test=parts[1],
        fingerprint=_fingerprint(root, size, train, test),
        note="" if test_folder is not None else f"test part held out of train ({HELD_OUT:.0%} of each class)",
    )


def _folders(folder: Path) -> list[str]:
    """Sorted names of the folders inside; hidden ones, such as notebooks leave behind, are no classes."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def is_image(name: str) -> bool:
    """Whether a file found in a folder is taken for an image: by how its name ends, and hidden ones are not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _images(folder: Path, label: int) -> Files:
    """The image files in a folder, sorted by name; others, and hidden ones, are passed over."""
    return sorted(
        (entry.path, entry.stat().st_size, label)
        for entry in os.scandir(folder)
        if is_image(entry.name) and entry.is_file()
    )


def _scan(folder: Path, layout: str) -> tuple[tuple[str, ...], Files]:
    """The classes of a part, sorted by name, and its files, sorted by class and name."""
    classes = _folders(folder)
    if not classes:
        loose = len(_images(folder, 0))
        but = f" but {loose} image files" if loose else ""
        raise EANError(
            f"no class folders in {folder.absolute()}{but}: {layout}, so put each class's images in a folder"
        )
    files: Files = []
    for label, name in enumerate(classes):
        inside = _images(folder / name, label)
        if not inside:
            deeper = _folders(folder / name)
            but = f" but folders ({', '.join(deeper[:3])}, ..)" if deeper else ""
            raise EANError(
                f"no image files in {(folder / name).absolute()}{but}: put {', '.join(SUFFIXES)} files there, or "
                f"remove it, or give another --data-root; {layout}"
            )
        files.extend(inside)
    if empty := [path for path, size, _ in files if not size]:
        raise EANError(
            f"{len(empty)} image file(s) have 0 bytes, the first is {empty[0]}: remove them or copy them again"
        )
    return tuple(classes), files


def _same_classes(train: Path, classes: tuple[str, ...], test: Path, test_classes: tuple[str, ...]) -> None:
    """Raise if one part has a class that the other lacks: labels would mean different things in the two."""
    for here, names, there, others in ((train, classes, test, test_classes), (test, test_classes, train, classes)):
        if lacking := sorted(set(names) - set(others)):
            raise EANError(
                f"{here.absolute()} has class folders that {there.name} lacks ({len(lacking)}, the first "
                f"{lacking[0]!r}): give both parts the same class folders"
            )


def _hold_out(files: Files, classes: tuple[str, ...]) -> tuple[Files, Files]:
    """Part the files of each class in (train, test) by a fixed draw."""
    labels = torch.tensor([label for _, _, label in files])
    held: list[Tensor] = []
    for label, name in enumerate(classes):
        members = (labels == label).nonzero().flatten()
        if len(members) < 2:
            raise EANError(
                f"class {name!r} has {len(members)} image and no val folder gives it others: add images, since a part "
                "of them is held out for testing"
            )
        count = max(1, round(HELD_OUT * len(members)))
        held.append(members[torch.randperm(len(members), generator=generator_for(0, label))[:count]])
    chosen = set(torch.cat(held).tolist())
    train = [file for position, file in enumerate(files) if position not in chosen]
    return train, [files[position] for position in sorted(chosen)]


def _source(files: Files, *, image_size: int, upright: bool) -> FolderSource:
    paths, _, labels = zip(*files, strict=True)
    resize = round(image_size * 256 / 224)
    return FolderSource(paths, torch.tensor(labels), image_size=image_size, resize=resize, upright=upright)


def _fingerprint(root: Path, image_size: int, *parts: Files) -> str:
    """First 16 hexadecimal digits of the SHA-256 of image size, and each file's part, label, relative path and size.

    The content is not read: that would take an hour for ImageNet.
    """
    digest = hashlib.sha256(str(image_size).encode())
    for number, files in enumerate(parts):
        for path, size, label in files:
            digest.update(f"{number} {label} {os.path.relpath(path, root)} {size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
