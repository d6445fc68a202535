"""Images and masks of one's own in folders: images/PART/NAME.jpg and labels/PART/NAME.png, as in SegNet's CamVid.

A mask is an 8-bit PNG whose pixels are labels: 0 for the first class, 1 for the second, and so on; 255 is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mmseg.registry import DATASETS

from ean_core.data.find_images import SUFFIXES, FoundImages, images_in
from ean_core.utils.checked_dataclasses import Range, build
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many
from segmentation.data.masks import VOID
from segmentation.data.sampling import SeededPairs
from segmentation.data.voc import PALETTE
from segmentation.third_party import BaseSegDataset

OF = "FolderSegmentation"


@dataclass(frozen=True)
class FolderArguments:
    """The arguments of `FolderSegmentation`, which a config gives."""

    data_root: Annotated[str, Range(1)]
    part: Annotated[str, Range(1)]
    classes: Annotated[tuple[Annotated[str, Range(1)], ...], Range(2, VOID)]
    ignored: tuple[Annotated[int, Range(0, VOID)], ...] = ()


@DATASETS.register_module()
class FolderSegmentation(SeededPairs, BaseSegDataset):
    """The image and mask pairs of one part of a data set.

    Args:
        data_root: the folder that holds `images` and `labels`.
        part: the folder below both: "train", "val", "test", ..
        classes: names of the labels 0, 1, ..
        ignored: further labels that occur in the masks and are not counted, as 255 never is.
        arguments: arguments of mmsegmentation's data sets: pipeline, ..

    Attributes:
        skipped: the files of the part that are not pairs of images and masks, in a sentence; "" for none.

    Raises:
        EANError: for a missing or empty folder, an image without a mask, two images with the same mask, or names and
            labels that are not ones.
    """

    has_voc_colors = False

    def __init__(
        self, *, data_root: str, part: str, classes: Sequence[str], ignored: Sequence[int] = (), **arguments: Any
    ) -> None:
        build(FolderArguments, {"data_root": data_root, "part": part, "classes": classes, "ignored": ignored}, where=OF)
        if len(set(classes)) < len(classes) or any(label < len(classes) for label in ignored):
            raise EANError(
                f"{OF}: classes must be different names, and ignored labels of no class, got {list(classes)[:5]} .. "
                f"and {list(ignored)[:5]}"
            )
        self.ignored = tuple(label for label in ignored if label != VOID)
        self.labels = max((len(classes) - 1, *self.ignored)) + 1
        palette = [PALETTE[(1 + number) % len(PALETTE)] for number in range(len(classes))]
        metainfo = {"classes": tuple(classes), "palette": palette, **arguments.pop("metainfo", {})}
        prefix = {"img_path": f"images/{part}", "seg_map_path": f"labels/{part}"}
        for folder in prefix.values():
            if not (path := Path(data_root, folder)).is_dir():
                raise EANError(
                    f"{path} is not a folder: expected images/PART/NAME.jpg and labels/PART/NAME.png below {data_root}"
                )
        arguments.setdefault("serialize_data", False)  # serialization pays only for lists of millions of files
        super().__init__(data_root=data_root, data_prefix=prefix, metainfo=metainfo, seg_map_suffix=".png", **arguments)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Pair every image with the mask of its name.

        Raises:
            EANError: if there is no image, an image has no mask, or two images have the same one.
        """
        images, masks = (Path(self.data_prefix[key]) for key in ("img_path", "seg_map_path"))
        found = images_in(images, below=False)
        if not found.files:
            raise EANError(f"{images} holds no images ({', '.join(SUFFIXES)})")
        labels = {file.stem: file for file in images_in(masks, below=False).files if file.suffix.lower() == ".png"}
        self.skipped = skipped_files(found, labels)
        self.label_map = dict.fromkeys(self.ignored, VOID) or None
        pairs = [
            self.make_pair(file, labels.get(file.stem, masks / f"{file.stem}{self.seg_map_suffix}"))
            for file in found.files
        ]
        missing = [pair["seg_map_path"] for pair in pairs if not Path(pair["seg_map_path"]).is_file()]
        if missing:
            raise EANError(
                f"the mask {missing[0]} does not exist, but its image does ({len(missing)} of {len(pairs)} "
                "masks are missing): complete the masks, or move the images away"
            )
        first: dict[str, Path] = {}
        for file in found.files:
            if (other := first.setdefault(file.stem, file)) is not file:
                raise EANError(
                    f"{other} and {file.name} would have the same mask, {file.stem}.png: remove "
                    "one of them, or give it another name and a mask of its own"
                )
        return pairs


def skipped_files(found: FoundImages, labels: Mapping[str, Path]) -> str:
    """What a folder of images holds besides images, and how many masks have no image, in a sentence; "" for nothing."""
    stems = {file.stem for file in found.files}
    unpaired = sorted(file.name for stem, file in labels.items() if stem not in stems)
    masks = f"{how_many(len(unpaired), 'mask')} without an image, such as {unpaired[0]}" if unpaired else ""
    return "; ".join(filter(None, [found.describe(), masks]))
