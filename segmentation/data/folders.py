"""Images and masks of one's own in folders: images/PART/NAME.jpg and labels/PART/NAME.png, as in SegNet's CamVid.

A mask is an 8-bit PNG whose pixels are labels: 0 for the first class, 1 for the second, and so on; 255 is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from ean_core.data.find_images import SUFFIXES
from ean_core.utils.errors import EANError, legible
from segmentation.data.masks import VOID
from segmentation.data.sampling import SeededItems
from segmentation.data.voc import PALETTE


@DATASETS.register_module()
class FolderSegmentation(SeededItems, BaseSegDataset):
    """The image and mask pairs of one part of a data set.

    Args:
        data_root: the folder that holds `images` and `labels`.
        part: the folder below both: "train", "val", "test", ..
        classes: names of the labels 0, 1, ..
        ignored: further labels that occur in the masks and are not counted, as 255 never is.
        arguments: arguments of mmsegmentation's data sets: pipeline, ..

    Raises:
        EANError: for a missing or empty folder, or an image without a mask.
    """

    has_voc_colors = False

    def __init__(
        self, *, data_root: str, part: str, classes: Sequence[str], ignored: Sequence[int] = (), **arguments: Any
    ) -> None:
        self.ignored = tuple(ignored)
        self.labels = max((len(classes) - 1, *self.ignored)) + 1
        palette = [PALETTE[(1 + number) % len(PALETTE)] for number in range(len(classes))]
        metainfo = {"classes": tuple(classes), "palette": palette, **arguments.pop("metainfo", {})}
        prefix = {"img_path": f"images/{part}", "seg_map_path": f"labels/{part}"}
        for folder in prefix.values():
            if not (path := Path(data_root, folder)).is_dir():
                raise EANError(
                    f"{legible(str(path))} is not a folder: expected images/PART/NAME.jpg and labels/PART/NAME.png "
                    f"below {legible(data_root)}"
                )
        arguments.setdefault("serialize_data", False)  # serialization pays only for lists of millions of files
        super().__init__(data_root=data_root, data_prefix=prefix, metainfo=metainfo, seg_map_suffix=".png", **arguments)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Pair every image with the mask of its name.

        Raises:
            EANError: if there is no image, or an image has no mask.
        """
        images, masks = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        files = sorted(file for file in images.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
        if not files:
            raise EANError(f"{legible(str(images))} holds no images ({', '.join(SUFFIXES)})")
        self.label_map = dict.fromkeys(self.ignored, VOID) or None
        pairs = [
            {
                "img_path": str(file),
                "seg_map_path": str(masks / f"{file.stem}{self.seg_map_suffix}"),
                "seg_fields": [],
                "label_map": self.label_map,
                "reduce_zero_label": self.reduce_zero_label,
            }
            for file in files
        ]
        missing = [pair["seg_map_path"] for pair in pairs if not Path(pair["seg_map_path"]).is_file()]
        if missing:
            raise EANError(
                f"the mask {legible(missing[0])} does not exist, but its image does ({len(missing)} of {len(pairs)} "
                "masks are missing): complete the masks, or move the images away"
            )
        return pairs
