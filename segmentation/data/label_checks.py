"""Check every image and mask of a data set, so that a bad file is reported before training starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.data.duplicates import check_duplicates
from ean_core.data.read_image import check_image
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of
from segmentation.data.masks import VOID, count_labels, read_labels, read_mask
from segmentation.data.transforms import label_table
from segmentation.data.voc import VOCSegmentation

THREADS = 8
NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Contents:
    """Statistics of the image and mask pairs in a list.

    Attributes:
        pairs: number of pairs.
        images: int64 (256,), number of masks in which each label of the files occurs.
        pixels: int64 (256,), number of pixels of each label; index 255 is the border.
        fingerprint: hash of the names and label counts.
        content: hash of the names and of the content of all files.
    """

    pairs: int
    images: np.ndarray
    pixels: np.ndarray
    fingerprint: str
    content: str


def check_pairs(dataset: VOCSegmentation) -> Contents:
    """Decode every image and mask.

    Raises:
        EANError: for the first pair, in the order of the list, that does not decode, whose sizes differ, or whose mask
            has a label or palette that is not VOC's.
    """
    pairs = [dataset.get_data_info(index) for index in range(len(dataset))]
    palette = dataset.METAINFO["palette"] if dataset.has_voc_colors else None

    def check(pair: dict[str, str]) -> tuple[np.ndarray, str]:
        image, mask = pair["img_path"], pair["seg_map_path"]
        return check_pair(image, mask, palette, labels=dataset.labels), sha256_of(image) + sha256_of(mask)

    with ThreadPoolExecutor(THREADS) as pool:  # Pillow and hashlib release the GIL
        rows, checksums = zip(*pool.map(check, pairs), strict=True)
    counts, names = np.stack(rows), [os.fsencode(Path(pair["img_path"]).stem) for pair in pairs]
    fingerprint = digest(name + row.tobytes() for name, row in zip(names, counts, strict=True))
    content = digest(name + checksum.encode() for name, checksum in zip(names, checksums, strict=True))
    return Contents(len(pairs), (counts > 0).sum(axis=0), counts.sum(axis=0), fingerprint, content)


def digest(pieces: Iterable[bytes]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of pieces joined."""
    return sha256(b"".join(pieces)).hexdigest()[:16]


def check_parts(parts: Mapping[str, VOCSegmentation], *, trains: bool = True) -> tuple[dict[str, Contents], list[str]]:
    """Check the data of a command: all files, that every class has pixels, and that no part holds another's images.

    Args:
        parts: of "train", "val" and "test" those that the command uses, and "train" wherever there is one. The test
            part may be the validation part.
        trains: False for a command that only tests: what makes a training meaningless is then a warning, and of the
            training part only the names and copies are looked at.

    Returns:
        the contents of the parts that are used, and warnings: also about files that are not.

    Raises:
        EANError: if a file is missing or damaged, a class has no pixel, or parts share images.
    """
    contents: dict[str, Contents] = {}
    warnings = []
    same = "val" in parts and "test" in parts and files_of(parts["val"]) == files_of(parts["test"])

    def complain(message: str) -> None:
        if trains:
            raise EANError(message)
        warnings.append(f"warning: {message}")

    used = {part: dataset for part, dataset in parts.items() if trains or part != "train"}
    for part, dataset in used.items():
        contents[part] = contents["val"] if same and part == "test" else check_pairs(dataset)
        if message := missing_classes(dataset, contents[part], part=NAMES[part]):
            complain(message)
    for part, other in combinations(parts, 2):
        if not (same and {part, other} == {"val", "test"}):
            try:
                warnings += check_disjoint(parts[part], parts[other], refuse_copies=trains)
            except EANError as error:
                complain(str(error))
    return contents, [*warnings, *skipped_files(used)]


def files_of(dataset: VOCSegmentation) -> list[Path]:
    """The image files of a data set."""
    return [Path(dataset.get_data_info(index)["img_path"]) for index in range(len(dataset))]


def check_disjoint(train: VOCSegmentation, val: VOCSegmentation, *, refuse_copies: bool = True) -> list[str]:
    """Refuse a training list that contains validation images, by name, as links or as copies.

    Args:
        train, val: the data sets.
        refuse_copies: False to only warn about copies under another name.

    Returns:
        warnings, see `check_duplicates`.

    Raises:
        EANError: naming the first image in both.
    """
    files = {"train": files_of(train), "val": files_of(val)}
    seen = {path.stem for path in files["train"]}
    if shared := [path.stem for path in files["val"] if path.stem in seen]:
        lists = [data.ann_file or data.data_prefix["img_path"] for data in (train, val)]
        raise EANError(
            f"{shared[0]} is in {lists[0]} and in {lists[1]} ({len(shared)} images are): a "
            "score on training images is meaningless, so remove them from one of the two"
        )
    return check_duplicates(files, files["val"][0].parents[1], refuse=refuse_copies)


def skipped_files(datasets: Mapping[str, Any]) -> list[str]:
    """A sentence for each part, by name, whose folders hold files that are not used."""
    return [f"{part}: {text}" for part, dataset in datasets.items() if (text := getattr(dataset, "skipped", ""))]


def pixels_per_class(dataset: VOCSegmentation, contents: Contents) -> np.ndarray:
    """Pixels of each class after the data set's label mapping, int64 (classes,)."""
    table = label_table(dataset.label_map, reduce_zero_label=dataset.reduce_zero_label)
    seen = np.bincount(table, weights=contents.pixels, minlength=256).astype(np.int64)
    return seen[: len(dataset.metainfo["classes"])]


def missing_classes(dataset: VOCSegmentation, contents: Contents, *, part: str) -> str:
    """A message about classes without any pixel; "" if all classes occur.

    A network can neither learn such a class nor be scored on it: with masks of only 0 and 255 every counted pixel is
    background, and every network has a mean IoU of 100.
    """
    counts, classes = pixels_per_class(dataset, contents), dataset.metainfo["classes"]
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not missing:
        return ""
    total = contents.pixels.sum()
    present = ", ".join(
        f"{label}{' (ignored)' if label == VOID else ''} {100 * contents.pixels[label] / total:.1f} %"
        for label in np.flatnonzero(contents.pixels)
    )
    hint = ""
    if contents.pixels[VOID] and len(missing) >= len(classes) - 1:
        hint = f"; label {VOID} means 'ignored', so if it marks your object, save the number of its class instead"
    if dataset.reduce_zero_label:
        hint += "; reduce_zero_label makes label 0 ignored"
    return (
        f"the {part} masks have no pixel of {', '.join(missing[:5])}{', ..' if len(missing) > 5 else ''} "
        f"({len(missing)} of the {len(classes)} classes), only the labels "
        f"{present}{hint}; add images of these classes, or use fewer classes"
    )


def check_pair(image_path: str, mask_path: str, palette: Sequence[Sequence[int]] | None, *, labels: int) -> np.ndarray:
    """Check one pair and return its pixels per label, int64 (256,).

    Args:
        image_path, mask_path: the files.
        palette: colors that the mask's own palette must have; None for any.
        labels: the mask's labels are 0 to `labels` - 1, or 255.
    """
    size = check_image(image_path)
    mask = read_labels(mask_path)[0] if palette is None else read_mask(mask_path, palette)
    if mask.shape[::-1] != size:
        raise EANError(
            f"the mask {mask_path} has {mask.shape[1]}x{mask.shape[0]} pixels but its image has "
            f"{size[0]}x{size[1]}: the mask must cover every pixel"
        )
    return count_labels(mask, mask_path, classes=labels)
