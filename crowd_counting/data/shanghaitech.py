"""ShanghaiTech parts A and B: Single-Image Crowd Counting via Multi-Column CNN (Zhang et al., CVPR 2016).

    ROOT/part_A/train_data/images/IMG_1.jpg
    ROOT/part_A/train_data/ground-truth/GT_IMG_1.mat        the same below test_data

Some copies name the folders part_A_final and ground_truth; both spellings are read. Points are used as stored, as is
common practice, although MATLAB numbers pixels from 1.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import scipy.io

from crowd_counting.data.points import CrowdData, CrowdImage, make_image
from ean_core.data.find_images import FoundImages, images_in
from ean_core.utils.errors import EANError
from ean_core.utils.regular_file import check_regular

# Number of (training, test) images in each full part. The demo set of prepare.py may have any number.
EXPECTED: dict[str, tuple[int, int] | None] = {"A": (300, 182), "B": (400, 316), "demo": None}
PART_FOLDERS = ("part_{}", "part_{}_final", "ShanghaiTech/part_{}", "ShanghaiTech/part_{}_final")
POINT_FOLDERS = ("ground-truth", "ground_truth")


def load_shanghaitech(root: str | Path, part: str) -> CrowdData:
    """Read a part of ShanghaiTech.

    Args:
        root: folder that holds part_A and part_B (or part_A_final and part_B_final).
        part: "A", "B" or "demo".

    Returns:
        its images in numerical order; `note` says if some of the full part are missing.

    Raises:
        EANError: if a folder, an image or an annotation is missing, damaged or malformed.
    """
    if part not in EXPECTED:
        raise EANError(f"unknown part {part!r}: choose one of {', '.join(EXPECTED)}")
    folder = part_folder(Path(root), part)
    listing = FoundImages()
    train, test = (read_split(folder / name, listing) for name in ("train_data", "test_data"))
    expected = EXPECTED[part]
    note = ""
    if expected is not None and (len(train), len(test)) != expected:
        note = (
            f"partial: found {len(train)} of {expected[0]} training images and {len(test)} of {expected[1]} test "
            "images, so results are not comparable with published ones"
        )
    return CrowdData(f"part_{part}", train, test, note, tuple(filter(None, [listing.describe()])))


def part_folder(root: Path, part: str) -> Path:
    """Find the folder of a part under any of its spellings."""
    candidates = [root / name.format(part) for name in PART_FOLDERS]
    for folder in candidates:
        if folder.is_dir():
            return folder
    hint = "draw it with crowd_counting/prepare.py --demo" if part == "demo" else "put the data set there"
    raise EANError(f"no folder part_{part} or part_{part}_final in {root}: {hint}, or give another --data-root")


def read_split(folder: Path, listing: FoundImages) -> tuple[CrowdImage, ...]:
    """Read all images of train_data or test_data with their points, and add the folder's listing to `listing`."""
    image_folder = folder / "images"
    if not image_folder.is_dir():
        raise EANError(f"no folder {image_folder}: expected images/IMG_1.jpg and ground-truth/GT_IMG_1.mat in {folder}")
    points_folder = next((folder / name for name in POINT_FOLDERS if (folder / name).is_dir()), None)
    if points_folder is None:
        raise EANError(
            f"no folder {' or '.join(POINT_FOLDERS)} in {folder}: expected the .mat files of the images there"
        )
    inside = images_in(image_folder, below=False)
    listing.add(inside)
    files = inside.files
    if not files:
        raise EANError(f"no images in {image_folder}: expected IMG_1.jpg, IMG_2.jpg, ..")
    check_pairs(files, points_folder)
    return tuple(
        make_image(file, read_mat(mat := points_folder / f"GT_{file.stem}.mat"), where=str(mat))
        for file in sorted(files, key=natural_key)
    )


def check_pairs(files: list[Path], points_folder: Path) -> None:
    """Raise an `EANError` for an image without points or points without an image, as after an incomplete copy."""
    images = {file.stem for file in files}
    points = {file.stem.removeprefix("GT_") for file in points_folder.glob("GT_*.mat")}
    if missing := sorted(images - points):
        more = f" ({len(missing)} images lack one)" if len(missing) > 1 else ""
        raise EANError(f"{points_folder / f'GT_{missing[0]}.mat'} does not exist{more}: every image needs its points")
    if missing := sorted(points - images):
        raise EANError(
            f"{points_folder / f'GT_{missing[0]}.mat'} has no image: put {missing[0]}.jpg next to the others"
        )


def read_mat(path: Path) -> np.ndarray:
    """Read the points (N, 2) of an annotation file: image_info[0, 0][0, 0][0]."""
    check_regular(path, what="the annotation file", advice="replace it")
    try:
        content = scipy.io.loadmat(path)
    except Exception as error:  # SciPy raises many exception types for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(f"cannot read the annotations {path} ({reason[:160]}): replace the file") from None
    try:
        return content["image_info"][0, 0][0, 0][0]
    except (KeyError, IndexError, TypeError, ValueError):
        raise EANError(
            f"{path} is not a ShanghaiTech annotation: expected the points in image_info[0, 0][0, 0][0]"
        ) from None


def natural_key(path: Path) -> tuple[list[int], str]:
    """Sort key that puts IMG_2 before IMG_10."""
    return [int(number) for number in re.findall(r"\d+", path.stem)], path.name
