"""Image files in class folders: ImageNet's layout, root/train/<class>/*.JPEG and root/val/<class>/*.JPEG.

A user's own images may also lie in root/<class>/*.jpg, or have both root/val and root/test.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ean_core.data.duplicates import check_duplicates
from ean_core.data.find_images import SUFFIXES, class_folders, describe_skipped, images_in
from ean_core.data.image_data import ImageData
from ean_core.data.image_sources import FolderSource
from ean_core.data.seeding import generator_for
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as published weights expect
HELD_OUT = 0.2  # fraction of each class that becomes the test set if there is none
SAMPLE = 4096  # bytes of a file that are read at each of three places, to recognize it
VAL_PARTS = ("val", "valid", "validation")
_LAYOUT = "expected root/train/<class>/<image files> and root/val/<class>/<image files>"
_FLAT = "expected root/<class>/<image files>, or root/train/<class>/<image files> and perhaps root/val likewise"

Files = list[tuple[str, int, int]]  # (path, size in bytes, label)


@dataclass
class Layout:
    """The folders of the training, validation and test images.

    Attributes:
        train: folder with the class folders to train on.
        val: images to score schemes on; None: split off from the training images.
        test: None: split off from the training images.
        remarks: messages on folders that are not used.
    """

    train: Path
    val: Path | None = None
    test: Path | None = None
    remarks: list[str] = field(default_factory=list)


def load_imagenet(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """Read root/train and root/val (or root/test), one folder per class; `download` is not used. See `load_data`.

    ImageNet's own test images have no labels, so val, if there is one, serves as the test set.
    """
    _check_root(root, _LAYOUT)
    folders = class_folders(root)
    if "train" not in folders:
        names_found = ", ".join(folders[:5]) or "no folders"
        raise EANError(f"no folder train in {root.absolute()} but {names_found}: {_LAYOUT}")
    test = next((root / part for part in (*VAL_PARTS, "test") if part in folders), None)
    if test is None:
        raise EANError(f"no folder val or test in {root.absolute()}: {_LAYOUT}")
    # Published images are taken as stored; a user's own are turned upright, as tools/predict.py does.
    return _load("imagenet", root, Layout(root / "train", test=test), image_size=image_size, upright=False)


def load_folder(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """Read ImageNet's layout, or class folders in root itself. See `load_data`.

    With both root/val and root/test, schemes are scored on val; with only one of them, it is the test set; with
    neither, a fixed fifth of each class becomes the test set.
    """
    _check_root(root, _FLAT)
    return _load("folder", root, layout_of(root), image_size=image_size, upright=True)


def layout_of(root: Path) -> Layout:
    """Find the training, validation and test folders among a user's own images.

    A folder called train holds the training set if it has class folders in it; with images in it and other class
    folders beside it, it is a class (as in bus, car, train).
    """
    folders = class_folders(root)
    other_names = [name for name in folders if name not in ("train", "test", *VAL_PARTS)]
    if "train" not in folders or (other_names and not class_folders(root / "train")):
        return Layout(root)
    layout = Layout(root / "train")
    parts = [name for name in (*VAL_PARTS, "test") if name in folders]
    # Test images without labels are common; a val folder without class folders is a mistake, which `_scan` names.
    used = [name for name in parts if name != "test" or class_folders(root / name)]
    used = [used[0], "test"] if len(used) > 1 and "test" in used else used[:1]
    if used:
        layout.test = root / used[-1]
        layout.val = root / used[0] if len(used) > 1 else None
    if unused := [name for name in (*parts, *other_names) if name not in used]:
        names = ", ".join(unused[:5]) + (", .." if len(unused) > 5 else "")
        layout.remarks.append(f"folders not used besides {' and '.join(['train', *used])}: {names}")
    return layout


def _check_root(root: Path, layout: str) -> None:
    if not root.is_dir():
        raise EANError(f"no folder {root.absolute()}: {layout}, so put the images there or give another --data-root")


def _load(name: str, root: Path, layout: Layout, *, image_size: int | None, upright: bool) -> ImageData:
    size, expected = 224 if image_size is None else image_size, _FLAT if name == "folder" else _LAYOUT
    skipped: Counter[str] = Counter()
    classes, train = _scan(layout.train, expected, skipped)
    if len(classes) == 1:
        raise EANError(
            f"{root.absolute()} has one class folder, {classes[0]!r}: classification needs two or more; {expected}"
        )
    val: Files = []
    for part in filter(None, (layout.val, layout.test)):
        part_classes, files = _scan(part, expected, skipped)
        _same_classes(layout.train, classes, part, part_classes)
        if part == layout.val:
            val = files
        else:
            test = files
    if layout.test is None:
        train, test = _hold_out(train, classes)
    remarks = [line for line in (describe_skipped(skipped), *layout.remarks) if line]
    if name == "folder":
        parts = {"train": train, "val": val, "test": test}
        remarks += check_duplicates({part: [path for path, _, _ in files] for part, files in parts.items()}, root)
    if val:
        remarks.append(
            f"schemes are scored on {how_many(len(val), 'image')} of {layout.val}; the test set is {layout.test}"
        )
    sources = [_source(files, image_size=size, upright=upright) for files in (train + val, test)]
    return ImageData(
        name=name,
        classes=classes,
        mean=MEAN,
        std=STD,
        train=sources[0],
        test=sources[1],
        fingerprint=_fingerprint(root, size, train, test, *([val] if val else [])),
        content=_content(train, test, val) if name == "folder" else None,
        note="" if layout.test is not None else f"test part held out of train ({100 * HELD_OUT:.0f} % of each class)",
        val=torch.arange(len(train), len(train) + len(val)) if val else None,
        remarks=tuple(remarks),
    )


def _scan(folder: Path, layout: str, skipped: Counter[str]) -> tuple[tuple[str, ...], Files]:
    """Classes in a folder, sorted by name, and files, sorted by class and name; adds the skipped files to `skipped`."""
    classes = class_folders(folder)
    if not classes:
        loose = len(images_in(folder, below=False).files)
        detail = f" but {loose} image files" if loose else ""
        raise EANError(
            f"no class folders in {folder.absolute()}{detail}: {layout}, so put each class's images in a folder"
        )
    files: Files = []
    for label, name in enumerate(classes):
        folder_images = images_in(folder / name, below=False)
        if not folder_images.files:
            deeper = class_folders(folder / name)
            detail = f" but folders ({', '.join(deeper[:3])}, ..)" if deeper else ""
            detail = detail or (f" ({skipped_text})" if (skipped_text := folder_images.describe()) else "")
            raise EANError(
                f"no image files in {(folder / name).absolute()}{detail}: put {', '.join(SUFFIXES)} files there, or "
                f"remove it, or give another --data-root; {layout}"
            )
        skipped += folder_images.skipped
        files.extend((str(path), path.stat().st_size, label) for path in folder_images.files)
    if empty := [path for path, size, _ in files if not size]:
        raise EANError(f"{how_many(len(empty), 'image file')} with 0 bytes, the first is {empty[0]}: remove or replace")
    return tuple(classes), files


def _same_classes(train: Path, classes: tuple[str, ...], test: Path, test_classes: tuple[str, ...]) -> None:
    """Raise if one folder has a class that the other lacks: their labels would mean different things."""
    pairs = ((train, classes), (test, test_classes))
    for (folder, names), (other_folder, other_names) in (pairs, pairs[::-1]):
        if missing := sorted(set(names) - set(other_names)):
            raise EANError(
                f"{folder.absolute()} has class folders that {other_folder.name} lacks ({len(missing)}, the first "
                f"{missing[0]!r}): give both parts the same class folders"
            )


def _hold_out(files: Files, classes: tuple[str, ...]) -> tuple[Files, Files]:
    """Split the files of each class into (train, test) at random with a fixed seed."""
    labels = torch.tensor([label for _, _, label in files])
    held_out: list[Tensor] = []
    for label, name in enumerate(classes):
        members = (labels == label).nonzero().flatten()
        if len(members) < 2:
            raise EANError(
                f"class {name!r} has {len(members)} image: add images, or a val folder, since some of "
                "them are held out for testing"
            )
        count = max(1, round(HELD_OUT * len(members)))
        held_out.append(members[torch.randperm(len(members), generator=generator_for(0, label))[:count]])
    chosen = set(torch.cat(held_out).tolist())
    train = [file for position, file in enumerate(files) if position not in chosen]
    return train, [files[position] for position in sorted(chosen)]


def _source(files: Files, *, image_size: int, upright: bool) -> FolderSource:
    paths, _, labels = zip(*files, strict=True)
    resize = round(image_size * 256 / 224)
    return FolderSource(paths, torch.tensor(labels), image_size=image_size, resize=resize, upright=upright)


def _content(*parts: Files) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the beginning, middle and end of each file.

    Files that were exchanged or saved again differ there, and reading it all would take minutes for a large folder.
    """
    digest = hashlib.sha256()
    for path, size, _ in chain(*parts):
        with open(path, "rb") as file:
            for start in (0, (size - SAMPLE) // 2, size - SAMPLE):
                file.seek(max(0, start))
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:16]


def _fingerprint(root: Path, image_size: int, *parts: Files) -> str:
    """First 16 hexadecimal digits of the SHA-256 of image size and each file's part, label, relative path and size.

    File contents are not read: that would take an hour for ImageNet.
    """
    digest = hashlib.sha256(str(image_size).encode())
    for number, files in enumerate(parts):
        for path, size, label in files:
            digest.update(f"{number} {label} {os.path.relpath(path, root)} {size}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
