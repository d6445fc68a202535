"""The steps of prepare.py: download VOC, check its lists, and print a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.utils.errors import EANError, first_line
from ean_core.utils.screen import make_table, print_table, say
from ean_core.utils.text import how_many
from segmentation.data.label_checks import Contents, check_disjoint, check_pairs, missing_classes, pixels_per_class
from segmentation.data.voc import CLASSES, VOCSegmentation

MASKS = {"train": "SegmentationClass", "val": "SegmentationClass", "trainaug": "SegmentationClassAug"}
PUBLISHED = {"train": 1464, "val": 1449, "trainaug": 10582}


def download_voc(root: Path) -> None:
    """Download VOC 2012's training and validation images to ROOT/VOCdevkit/VOC2012 with torchvision.

    Raises:
        EANError: if the download fails or the folder already exists.
    """
    from torchvision.datasets import VOCSegmentation

    if (root / "VOCdevkit/VOC2012/JPEGImages").exists():
        raise EANError(f"{root}/VOCdevkit/VOC2012 already exists: omit --download, or give another --data-root")
    try:
        VOCSegmentation(str(root), year="2012", image_set="train", download=True)
    except (OSError, RuntimeError) as error:
        raise EANError(
            f"VOC 2012 cannot be downloaded ({first_line(error)}): unpack VOCtrainval_11-May-2012.tar in {root}"
        ) from None


def check_lists(root: Path, cls: Any) -> tuple[dict[str, Contents], list[str]]:
    """Check the lists: train and val must exist, trainaug may.

    Returns:
        the contents of each list, and warnings.

    Raises:
        EANError: as in `VOCSegmentation`, `check_pairs` and `check_disjoint`.
    """
    parts = [part for part in MASKS if part != "trainaug" or (root / f"ImageSets/Segmentation/{part}.txt").is_file()]
    sets = {}
    for part in parts:
        prefix = {"img_path": "JPEGImages", "seg_map_path": MASKS[part]}
        sets[part] = cls(data_root=str(root), ann_file=f"ImageSets/Segmentation/{part}.txt", data_prefix=prefix)
    warnings = [
        line for part in parts if part != "val" for line in check_disjoint(sets[part], sets["val"], refuse_copies=False)
    ]
    contents = {part: check_pairs(dataset) for part, dataset in sets.items()}
    messages = [missing_classes(sets[part], contents[part], part=part) for part in parts]
    # A subset of VOC may lack classes, but training needs at least two.
    untrainable = {part: np.count_nonzero(pixels_per_class(sets[part], contents[part])) < 2 for part in parts}
    labels = ["warning" if untrainable[part] else "note" for part in parts]
    return contents, [
        *warnings,
        *(f"{label}: {message}" for label, message in zip(labels, messages, strict=True) if message),
    ]


def print_data(root: Path, contents: dict[str, Contents], *, classes: tuple[str, ...]) -> None:
    """Print the images per class and list, and the share of ignored pixels."""
    table = make_table(f"{root}: images in which a class occurs", ["class", *contents])
    for label, name in enumerate(classes):
        table.add_row(name, *(f"{listing.images[label]:,}" for listing in contents.values()))
    table.add_section()
    table.add_row("pairs", *(f"{listing.pairs:,}" for listing in contents.values()))
    table.add_row(
        "ignored pixels",
        *(f"{100 * listing.pixels[255] / listing.pixels.sum():.1f} %" for listing in contents.values()),
    )
    print_table(table)
    for part, listing in contents.items():
        if note := subset_note(part, listing.pairs, classes):
            say(note)
        if listing.pixels[255] == 0:
            say(f"{part}: no pixel has label 255, which VOC's own masks use for object borders")
    say("all images and masks can be read; sizes, labels and colors match VOC's")


def subset_note(part: str, pairs: int, classes: Sequence[str]) -> str:
    """A note for a list of VOC's name and classes that is not complete; "" for complete ones and other data.

    Args:
        part: name of the list.
        pairs: images with masks in it.
        classes: that are told apart.
    """
    published = PUBLISHED.get(part)
    if published is None or pairs == published or not set(classes) <= set(CLASSES):
        return ""
    return (
        f"{part}: {how_many(pairs, 'image')}, but VOC 2012 has {published:,}: VOC is incomplete here, so report "
        "results as a subset"
    )


def incomplete(dataset: VOCSegmentation, pairs: int) -> str:
    """`subset_note` of a data set of a config."""
    return subset_note(Path(dataset.ann_file).stem, pairs, dataset.metainfo["classes"])
