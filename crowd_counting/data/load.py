"""Read the data set that a command or recipe names: a part, several parts together, or a points file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from crowd_counting.cli import default_root
from crowd_counting.data.empty_scenes import load_empty_scenes
from crowd_counting.data.points import CrowdData, CrowdImage
from crowd_counting.data.points_file import load_points_file
from crowd_counting.data.shanghaitech import load_shanghaitech
from ean_core.data.duplicates import check_duplicates
from ean_core.utils.errors import EANError


def load_crowd(
    *,
    parts: Sequence[str] = (),
    annotations: str | None = None,
    data_root: str | None = None,
    empty: str | None = None,
    refuse_copies: bool = False,
) -> CrowdData:
    """Load the data set that --part or --annotations names.

    Args:
        parts: of ShanghaiTech, or "demo"; several are joined, see `join_parts`.
        annotations: a points file, if there are no parts.
        data_root: folder of the parts; None for the default one.
        empty: a folder of photos without people, which are added to the training images.
        refuse_copies: refuse training images that are copies of test images, instead of only warning.

    Raises:
        EANError: if it cannot be read, or, with `refuse_copies`, if training images are copies of test images.
    """
    if bool(parts) == (annotations is not None):
        raise EANError(
            "give either --part A, B or demo, or --annotations FILE (data.part or data.annotations in a recipe)"
        )
    if repeated := [part for part in parts if list(parts).count(part) > 1]:
        raise EANError(f"part {repeated[0]} is given twice: give each part once")
    if annotations is not None:
        data, root = load_points_file(annotations), Path(annotations).parent
    else:
        data = join_parts([load_shanghaitech(data_root or default_root(part), part) for part in parts])
        root = Path(data_root or default_root(parts[0]))
    if empty is not None:
        data = replace(data, train=(*data.train, *load_empty_scenes(empty, (*data.train, *data.test))))
    files = {"train": [image.path for image in data.train], "test": [image.path for image in data.test]}
    return replace(data, remarks=(*data.remarks, *check_duplicates(files, root, refuse=refuse_copies)))


def join_parts(parts: Sequence[CrowdData]) -> CrowdData:
    """Join data sets to one whose images keep the name of their part; a single one stays as it is.

    An image's name gets its part before it, "part_A/IMG_1", since every part has an IMG_1.
    """
    if len(parts) == 1:
        return parts[0]

    def named(data: CrowdData, images: Sequence[CrowdImage]) -> list[CrowdImage]:
        return [replace(image, name=f"{data.name}/{image.name}", part=data.name) for image in images]

    return CrowdData(
        "+".join(data.name for data in parts),
        tuple(chain.from_iterable(named(data, data.train) for data in parts)),
        tuple(chain.from_iterable(named(data, data.test) for data in parts)),
        "; ".join(f"{data.name}: {data.note}" for data in parts if data.note),
        tuple(chain.from_iterable(data.remarks for data in parts)),
    )
