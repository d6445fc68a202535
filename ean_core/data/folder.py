"""Image files in class folders: ImageNet's layout, root/train/<class>/*.JPEG and root/val/<class>/*.JPEG.

Of a user's own images root/<class>/*.jpg will do as well, and root/val and root/test may both be there.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ean_core.data.duplicates import check_duplicates
from ean_core.data.find_images import SUFFIXES, class_folders, describe_skipped, images_in
from ean_core.data.image_data import ImageData
from ean_core.data.seeding import generator_for
from ean_core.data.sources import FolderSource
from ean_core.utils.errors import EANError, legible
from ean_core.utils.text import how_many

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as published weights expect
HELD_OUT = 0.2  # of each class, the test part of a folder that has none
VAL_PARTS = ("val", "valid", "validation")
_LAYOUT = "expected root/train/<class>/<image files> and root/val/<class>/<image files>"
_FLAT = "expected root/<class>/<image files>, or root/train/<class>/<image files> and perhaps root/val likewise"

Files = list[tuple[str, int, int]]  # (path, size in bytes, label)


@dataclass
class Layout:
    """Which folder is which part.

    Attributes:
        train: holds the class folders to train on.
        val: of images to score schemes on; None: they are drawn from the training images.
        test: None: a share of the training images.
        remarks: sentences on what is not used.
    """

    train: Path
    val: Path | None = None
    test: Path | None = None
    remarks: list[str] = field(default_factory=list)


def load_imagenet(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """Read root/train and root/val (or root/test), one folder a class; `download` is not used. See `load_data`.

    ImageNet's own test images have no labels, so that val, where there is one, is the part to test on.
    """
    _check_root(root, _LAYOUT)
    folders = class_folders(root)
    if "train" not in folders:
        found = ", ".join(map(legible, folders[:5])) or "no folders"
        raise EANError(f"no folder train in {root.absolute()} but {found}: {_LAYOUT}")
    test = next((root / part for part in (*VAL_PARTS, "test") if part in folders), None)
    if test is None:
        raise EANError(f"no folder val or test in {root.absolute()}: {_LAYOUT}")
    # The published images are taken as they are; a user's own are shown upright, as tools/predict.py shows them.
    return _load("imagenet", root, Layout(root / "train", test=test), image_size=image_size, upright=False)


def load_folder(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """As ImageNet, or with the class folders in root itself.

    With root/val and root/test, val is for scoring schemes and test for testing; with one of them it is tested on;
    without them a fifth of each class becomes the test part, always the same.
    """
    _check_root(root, _FLAT)
    return _load("folder", root, layout_of(root), image_size=image_size, upright=True)


def layout_of(root: Path) -> Layout:
    """The parts of a folder of one's own images.

    A folder called train is the training part if there are class folders in it; one with images in it, beside other
    class folders, is a class (as of bus, car and train).
    """
    folders = class_folders(root)
    others = [name for name in folders if name not in ("train", "test", *VAL_PARTS)]
    if "train" not in folders or (others and not class_folders(root / "train")):
        return Layout(root)
    layout = Layout(root / "train")
    parts = [name for name in (*VAL_PARTS, "test") if name in folders]
    # Test images without labels are common; a val folder without class folders is a mistake, which `_scan` names.
    used = [name for name in parts if name != "test" or class_folders(root / name)]
    used = [used[0], "test"] if len(used) > 1 and "test" in used else used[:1]
    if used:
        layout.test = root / used[-1]
        layout.val = root / used[0] if len(used) > 1 else None
    if unused := [name for name in (*parts, *others) if name not in used]:
        names = ", ".join(map(legible, unused[:5])) + (", .." if len(unused) > 5 else "")
        layout.remarks.append(f"not used beside {' and '.join(['train', *used])}: {names}")
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
            f"schemes are scored on {how_many(len(val), 'image')} of {layout.val}, tested is on {layout.test}"
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
        note="" if layout.test is not None else f"test part held out of train ({HELD_OUT:.0%} of each class)",
        val=torch.arange(len(train), len(train) + len(val)) if val else None,
        remarks=tuple(remarks),
    )


def _scan(folder: Path, layout: str, skipped: Counter[str]) -> tuple[tuple[str, ...], Files]:
    """The classes of a part, sorted by name, and its files, sorted by class and name; counts what is passed over."""
    classes = class_folders(folder)
    if not classes:
        loose = len(images_in(folder, below=False).files)
        but = f" but {loose} image files" if loose else ""
        raise EANError(
            f"no class folders in {folder.absolute()}{but}: {layout}, so put each class's images in a folder"
        )
    files: Files = []
    for label, name in enumerate(classes):
        inside = images_in(folder / name, below=False)
        if not inside.files:
            deeper = class_folders(folder / name)
            but = f" but folders ({', '.join(deeper[:3])}, ..)" if deeper else ""
            but = but or (f" ({said})" if (said := inside.describe()) else "")
            raise EANError(
                f"no image files in {(folder / name).absolute()}{but}: put {', '.join(SUFFIXES)} files there, or "
                f"remove it, or give another --data-root; {layout}"
            )
        skipped += inside.skipped
        files.extend((str(path), path.stat().st_size, label) for path in inside.files)
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
