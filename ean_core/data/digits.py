"""The 1797 handwritten digits bundled with scikit-learn, for quick runs without a download.

https://archive.ics.uci.edu/dataset/80 (Alpaydin and Kaynak, 1998): 8x8 counts of set pixels, 0 to 16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ean_core.data.image_data import ImageData, array_fingerprint, refuse_image_size
from ean_core.data.image_sources import ArraySource
from ean_core.data.split import class_balanced

TEST_PER_CLASS = 50


def load_digits(root: Path, *, download: bool = True, image_size: int | None = None) -> ImageData:
    """1297 training and 500 test images, uint8 (N, 1, 8, 8); `root` and `download` are not used. See `load_data`.

    The split is this project's own and fixed: 50 test images per class, drawn with seed 0.
    """
    from sklearn.datasets import load_digits as bundled

    refuse_image_size("digits", image_size, side=8)
    counts, targets = bundled(return_X_y=True)  # (1797, 64) of 0.0 to 16.0, (1797,)
    images = torch.from_numpy(np.rint(counts * (255 / 16)).astype(np.uint8)).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(targets.astype(np.int64))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    is_test[class_balanced(labels, TEST_PER_CLASS, seed=0)] = True
    train = ArraySource(images[~is_test], labels[~is_test])
    test = ArraySource(images[is_test], labels[is_test])
    scaled = train.images.double() / 255
    return ImageData(
        name="digits",
        classes=tuple("0123456789"),
        mean=(round(scaled.mean().item(), 4),),
        std=(round(scaled.std().item(), 4),),
        train=train,
        test=test,
        fingerprint=array_fingerprint(train, test),
        note="bundled with scikit-learn",
    )
