"""Pascal VOC 2012 (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/) and what is in its layout, checked when it is read.

Root of the layout: JPEGImages/NAME.jpg, SegmentationClass/NAME.png (0 background, 1 to 20 the classes, 255 the border
that is not counted), ImageSets/Segmentation/LIST.txt with a NAME a line.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from ean_core.utils.errors import EANError, legible, unknown_name
from segmentation.data.sampling import Draw

CLASSES: tuple[str, ...] = PascalVOCDataset.METAINFO["classes"]
PALETTE: list[list[int]] = PascalVOCDataset.METAINFO["palette"]


@DATASETS.register_module()
class VOCSegmentation(PascalVOCDataset):
    """Image and mask pairs of a list.

    Args:
        only: names of the classes that are told apart, everything else counts as background; None for all 20.
        arguments: of mmsegmentation's data sets: data_root, data_prefix, ann_file, pipeline, ..

    Raises:
        EANError: for a missing folder, a missing or empty list, a name that is there twice, or a missing file.
    """

    def __init__(self, *, only: Sequence[str] | None = None, **arguments: Any) -> None:
        self.only = only
        if only is not None:
            classes, palette = self.METAINFO["classes"], self.METAINFO["palette"]
            for name in only:
                if name not in classes[1:]:
                    raise unknown_name("class", name, list(classes[1:]))
            kept = [0, *(classes.index(name) for name in only)]
            meta = {"classes": tuple(classes[i] for i in kept), "palette": [palette[i] for i in kept]}
            arguments["metainfo"] = {**meta, **arguments.get("metainfo", {})}
        check_list(arguments)
        arguments.setdefault("serialize_data", False)  # MMEngine packs lists of millions of files; this one is short
        super().__init__(**arguments)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Old label -> new one: a class that is not told apart is background, not ignored."""
        classes = cls.METAINFO["classes"]
        if new_classes is None or tuple(new_classes) == tuple(classes):
            return None
        return {old: new_classes.index(name) if name in new_classes else 0 for old, name in enumerate(classes)}

    def load_data_list(self) -> list[dict[str, Any]]:
        """The pairs of the list.

        Raises:
            EANError: if the list cannot be read, or a file of a pair is missing.
        """
        images, masks = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        shared = {"label_map": self.label_map, "reduce_zero_label": self.reduce_zero_label}
        pairs = [
            {
                "img_path": str(images / f"{name}{self.img_suffix}"),
                "seg_map_path": str(masks / f"{name}{self.seg_map_suffix}"),
                "seg_fields": [],
                **shared,
            }
            for name in read_list(Path(self.ann_file))
        ]
        for what, key in (("image", "img_path"), ("mask", "seg_map_path")):
            lost = [pair[key] for pair in pairs if not Path(pair[key]).is_file()]
            if lost:
                raise EANError(
                    f"the {what} {legible(lost[0])} does not exist, which {self.ann_file} names ({len(lost)} of "
                    f"{len(pairs)} {what}s are missing): complete the data set, or take the names out of the list"
                )
        return pairs

    def __getitem__(self, item: int | Draw) -> Any:
        """One pair through the pipeline; a `Draw` brings its own randomness."""
        if isinstance(item, Draw):
            random.seed(item.seed)
            np.random.seed(item.seed)  # noqa: NPY002 (the transforms of mmcv draw from NumPy's global generator)
            item = item.index
        return super().__getitem__(item)


def check_list(arguments: dict[str, Any]) -> None:
    """Make sure that the folders and the list are there, before mmsegmentation's assertions.

    Raises:
        EANError: if not, or if the list is empty or names an image twice.
    """
    root = Path(arguments.get("data_root") or ".")
    folders = arguments.get("data_prefix") or {}
    for folder in (root, *(root / one for one in folders.values())):
        if not folder.is_dir():
            raise EANError(
                f"{folder} is no folder: expected Pascal VOC's layout, as python segmentation/prepare.py --download "
                "makes it"
            )
    read_list(root / arguments["ann_file"])


def read_list(path: Path) -> list[str]:
    """The names in a list file.

    Raises:
        EANError: if it is missing, empty or no UTF-8, or names an image twice.
    """
    if not path.is_file():
        raise EANError(f"the list {path} does not exist: expected a file with the name of an image a line")
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without a mark can be read as UTF-8, with a zero in every other place
        raise EANError(f"the list {path} is no text in UTF-8, perhaps UTF-16: save it again as UTF-8") from None
    names = [name for line in text.splitlines() if (name := line.strip())]
    if not names:
        raise EANError(f"the list {path} is empty: expected the name of an image a line, without .jpg")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EANError(f"the list {path} names {twice} more than once: every image counts once, remove the others")
    return names
