"""The augmented training list (trainaug): VOC's own masks, plus SBD's for images without one.

Semantic Contours from Inverse Detectors (Hariharan et al., ICCV 2011) annotated 11,355 images of VOC 2011. Images of
VOC 2012's val list are excluded and VOC's own masks take precedence, which leaves the usual 10,582 images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io

from ean_core.utils.errors import EANError, first_line
from ean_core.utils.files import write_atomic
from ean_core.utils.progress import bar
from ean_core.utils.regular_file import check_regular
from segmentation.data.masks import count_labels, read_mask, save_mask
from segmentation.data.voc import CLASSES, PALETTE, read_list

LISTS = "ImageSets/Segmentation"


def merge_masks(root: Path, source: Path) -> int:
    """Write SegmentationClassAug/NAME.png and ImageSets/Segmentation/trainaug.txt.

    Args:
        root: folder of VOC 2012.
        source: SBD's `dataset` folder with cls/NAME.mat, or a folder with NAME.png of labels.

    Returns:
        number of images in the list.

    Raises:
        EANError: for a missing folder or list, a file that cannot be read, or a mask without its image. The list is
            written last, so that it exists only when everything is complete.
    """
    train, val = (read_list(root / LISTS / f"{part}.txt") for part in ("train", "val"))
    folder = source / "cls" if (source / "cls").is_dir() else source
    files = {file.stem: file for file in (*sorted(folder.glob("*.mat")), *sorted(folder.glob("*.png")))}
    if not files:
        raise EANError(
            f"{source} contains no masks: expected SBD's folder with cls/NAME.mat, or a folder with NAME.png"
        )
    sources = {name: file for name, file in files.items() if name not in set(val)}
    sources |= {name: root / "SegmentationClass" / f"{name}.png" for name in train}
    out = root / "SegmentationClassAug"
    with bar("masks", len(sources)) as progress:
        for number, (name, file) in enumerate(sorted(sources.items()), start=1):
            if not (root / "JPEGImages" / f"{name}.jpg").is_file():
                raise EANError(f"{file} has no image {root}/JPEGImages/{name}.jpg: complete VOC 2012 first")
            labels = read_mat(file) if file.suffix == ".mat" else read_mask(file, PALETTE)
            count_labels(labels, file, classes=len(CLASSES))
            save_mask(out / f"{name}.png", labels, PALETTE)
            progress.update(number)
    write_atomic(root / LISTS / "trainaug.txt", "\n".join(sorted(sources)) + "\n")
    return len(sources)


def read_mat(path: Path) -> np.ndarray:
    """Read the labels in SBD's GTcls.Segmentation, uint8 (H, W).

    Raises:
        EANError: if the file cannot be read or has other content.
    """
    check_regular(path, what="the mask", advice="replace it")
    try:
        return np.asarray(scipy.io.loadmat(path)["GTcls"][0]["Segmentation"][0], dtype=np.uint8)
    except Exception as error:  # SciPy raises many exception types for a damaged file
        raise EANError(f"{path} cannot be read as an SBD mask ({first_line(error)}): replace the file") from None
