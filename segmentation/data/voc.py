"""Pascal VOC 2012 (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/) and data sets in its layout, checked when read.

Layout below the root: JPEGImages/NAME.jpg, SegmentationClass/NAME.png (0 background, 1 to 20 the classes, 255 the
ignored border), ImageSets/Segmentation/LIST.txt with one NAME per line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg.registry import DATASETS

from ean_core.utils.errors import EANError, unknown_name
from ean_core.utils.regular_file import check_regular
from segmentation.data.sampling import SeededPairs
from segmentation.third_party import PascalVOCDataset

CLASSES: tuple[str, ...] = PascalVOCDataset.METAINFO["classes"]
PALETTE: list[list[int]] = PascalVOCDataset.METAINFO["palette"]


@DATASETS.register_module()
class VOCSegmentation(SeededPairs, PascalVOCDataset):
    """The image and mask pairs of a list.

    Args:
        only: names of the classes to use, all others count as background; None for all 20.
        arguments: arguments of mmsegmentation's data sets: data_root, data_prefix, ann_file, pipeline, ..

    Raises:
        EANError: for a missing folder, a missing or empty list, a duplicate name, or a missing file.
    """

    has_voc_colors = True
    """Whether the masks' palettes must be VOC's."""
    labels = len(CLASSES)
    """Labels that may occur in the masks, beside 255."""

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
        arguments.setdefault("serialize_data", False)  # serialization pays only for lists of millions of files
        super().__init__(**arguments)

    @classmethod
    def get_label_map(cls, new_classes: Sequence[str] | None = None) -> dict[int, int] | None:
        """Map old labels to new ones; classes that are not used become background instead of being ignored."""
        classes = cls.METAINFO["classes"]
        if new_classes is None or tuple(new_classes) == tuple(classes):
            return None
        return {old: new_classes.index(name) if name in new_classes else 0 for old, name in enumerate(classes)}

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the list and check that all its files exist.

        Raises:
            EANError: if the list cannot be read, or a file of a pair is missing.
        """
        images, masks = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        pairs = [
            self.make_pair(images / f"{name}{self.img_suffix}", masks / f"{name}{self.seg_map_suffix}")
            for name in read_list(Path(self.ann_file))
        ]
        for what, key in (("image", "img_path"), ("mask", "seg_map_path")):
            missing = [pair[key] for pair in pairs if not Path(pair[key]).is_file()]
            if missing:
                raise EANError(
                    f"the {what} {missing[0]} does not exist, but {self.ann_file} lists it ({len(missing)} of "
                    f"{len(pairs)} {what}s are missing): complete the data set, or remove the names from the list"
                )
        return pairs


def check_list(arguments: dict[str, Any]) -> None:
    """Check that the folders and the list exist, before mmsegmentation's assertions fail.

    Raises:
        EANError: if not, or if the list is empty or has duplicates.
    """
    root = Path(arguments.get("data_root") or ".")
    folders = arguments.get("data_prefix") or {}
    for folder in (root, *(root / one for one in folders.values())):
        if not folder.is_dir():
            raise EANError(
                f"{folder} is not a folder: expected Pascal VOC's layout, as created by python segmentation/prepare.py "
                "--download"
            )
    read_list(root / arguments["ann_file"])


def read_list(path: Path) -> list[str]:
    """Read the image names in a list file.

    Raises:
        EANError: if it is missing, empty or not UTF-8, or has duplicates.
    """
    check_regular(path, what="the list", advice="expected a file with one image name per line")
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # UTF-16 without a mark decodes as UTF-8, with a zero in every other position
        raise EANError(f"the list {path} is not UTF-8 text, perhaps UTF-16: save it as UTF-8") from None
    names = [name for line in text.splitlines() if (name := line.strip())]
    if not names:
        raise EANError(f"the list {path} is empty: expected one image name per line, without .jpg")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EANError(f"the list {path} names {twice} more than once: remove the duplicates")
    return names
