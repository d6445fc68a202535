"""What prepare.py does: the download, the check of all lists, and the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from ean_core.utils.errors import EANError, first_line
from ean_core.utils.progress import console
from segmentation.data.label_checks import Contents, check_disjoint, check_pairs, lacking_classes, pixels_per_class

MASKS = {"train": "SegmentationClass", "val": "SegmentationClass", "trainaug": "SegmentationClassAug"}
PUBLISHED = {"train": 1464, "val": 1449, "trainaug": 10582}


def download_voc(root: Path) -> None:
    """VOC 2012's training and validation images into ROOT/VOCdevkit/VOC2012, by torchvision.

    Raises:
        EANError: if it cannot be downloaded, or is there already.
    """
    from torchvision.datasets import VOCSegmentation

    if (root / "VOCdevkit/VOC2012/JPEGImages").exists():
        raise EANError(f"{root}/VOCdevkit/VOC2012 is there already: leave out --download, or give another --data-root")
    try:
        VOCSegmentation(str(root), year="2012", image_set="train", download=True)
    except (OSError, RuntimeError) as error:
        raise EANError(
            f"VOC 2012 cannot be downloaded ({first_line(error)}): unpack VOCtrainval_11-May-2012.tar in {root}"
        ) from None


def check_lists(root: Path, cls: Any) -> tuple[dict[str, Contents], list[str]]:
    """Check the lists that are there: train and val must be, trainaug may.

    Returns:
        what each holds, and warnings.

    Raises:
        EANError: as `VOCSegmentation`, `check_pairs` and `check_disjoint`.
    """
    parts = [part for part in MASKS if part != "trainaug" or (root / f"ImageSets/Segmentation/{part}.txt").is_file()]
    sets = {}
    for part in parts:
        prefix = {"img_path": "JPEGImages", "seg_map_path": MASKS[part]}
        sets[part] = cls(data_root=str(root), ann_file=f"ImageSets/Segmentation/{part}.txt", data_prefix=prefix)
    warnings = [
        line for part in parts if part != "val" for line in check_disjoint(sets[part], sets["val"], refuse_copies=False)
    ]
    contents = {part: check_pairs(one) for part, one in sets.items()}
    lacking = [lacking_classes(sets[part], contents[part], part=part) for part in parts]
    # Of part of VOC two classes or more can be told apart; with fewer there is nothing to train.
    bad = {part: np.count_nonzero(pixels_per_class(sets[part], contents[part])) < 2 for part in parts}
    words = ["warning" if bad[part] else "note" for part in parts]
    return contents, [*warnings, *(f"{word}: {said}" for word, said in zip(words, lacking, strict=True) if said)]


def print_data(root: Path, contents: dict[str, Contents], *, classes: tuple[str, ...]) -> None:
    """Images per class and list, and how many pixels are not counted."""
    table = Table(title=f"{root}: images in which a class occurs")
    table.add_column("class")
    for part in contents:
        table.add_column(part, justify="right")
    for label, name in enumerate(classes):
        table.add_row(name, *(f"{one.images[label]:,}" for one in contents.values()))
    table.add_section()
    table.add_row("pairs", *(f"{one.pairs:,}" for one in contents.values()))
    table.add_row("pixels not counted", *(f"{one.pixels[255] / one.pixels.sum():.1%}" for one in contents.values()))
    console().print(table)
    for part, one in contents.items():
        if len(classes) == 21 and one.pairs != PUBLISHED[part]:
            print(f"{part}: {one.pairs:,} pairs, VOC 2012 has {PUBLISHED[part]:,}: call what you train on a subset")
        if one.pixels[255] == 0:
            print(f"{part}: no pixel has label 255, with which VOC's own masks leave out the borders of objects")
    print("every image and mask decodes; sizes, labels and colours are VOC's")
