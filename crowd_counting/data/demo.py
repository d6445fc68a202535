"""A synthetic crowd in ShanghaiTech's layout: bright discs of several sizes on a mottled background, one per head.

It lets the commands run in minutes; accuracy on it says nothing about real crowds.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import scipy.io

from ean_core.inference.images import write_image
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_folder, atomic_path

SIZE = (192, 256)  # (H, W) in pixels
PART = "part_demo"
REAL = ("part_A", "part_B", "part_A_final", "part_B_final")
"""Parts of ShanghaiTech, among which nothing is drawn."""


def draw_demo(root: Path, *, train: int = 60, test: int = 20, seed: int = 0) -> Path:
    """Draw ROOT/part_demo with `train` training and `test` test images, every tenth in grayscale.

    Raises:
        EANError: if the folder already exists, or ROOT holds parts of ShanghaiTech.
    """
    folder = root / PART
    real = [name for name in REAL if (root / name).exists()]
    if real:
        raise EANError(f"{root} holds {real[0]}, real images: give another --data-root for the drawn ones")
    if folder.exists():
        raise EANError(f"{folder} already exists: remove it to draw it again, or give another --data-root")
    with atomic_folder(folder) as temporary:
        draw_parts(temporary, train=train, test=test, seed=seed)
    return folder


def draw_parts(folder: Path, *, train: int, test: int, seed: int) -> None:
    """Draw the images and annotations of both parts."""
    rng = np.random.default_rng(seed)
    for part, count in (("train_data", train), ("test_data", test)):
        for number in range(1, count + 1):
            pixels, points = draw_image(rng)
            if number % 10 == 0:
                pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            write_image(folder / part / "images" / f"IMG_{number}.jpg", pixels)
            with atomic_path(folder / part / "ground-truth" / f"GT_IMG_{number}.mat") as temporary:
                save_mat(temporary, points)


def draw_image(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image, uint8 (H, W, 3), and its heads, float64 (N, 2) as x, y; heads are smaller toward the top."""
    height, width = SIZE
    coarse = rng.uniform(20, 110, (height // 16, width // 16, 3)).astype(np.float32)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels += rng.normal(0, 6, pixels.shape)
    count = int(rng.integers(5, 90))
    y = height * rng.power(1.2, count)
    x = rng.uniform(0, width, count)
    order = np.argsort(y)  # nearest last, so that they are in front
    points = np.stack([x[order], y[order]], axis=1)
    for point in points:
        radius = 1.5 + 3.5 * point[1] / height
        color = rng.uniform(150, 250, 3)
        center = tuple(round(16 * float(value)) for value in point)  # in sixteenths of a pixel
        cv2.circle(pixels, center, int(16 * radius), color.tolist(), -1, cv2.LINE_AA, shift=4)
    return np.clip(pixels, 0, 255).astype(np.uint8), points


def save_mat(path: Path, points: np.ndarray) -> None:
    """Write an annotation file in ShanghaiTech's format: image_info[0, 0][0, 0] is (points, number)."""
    inner = np.empty((1, 1), dtype=[("location", object), ("number", object)])
    inner[0, 0] = (np.asarray(points, dtype=np.float64).reshape(-1, 2), len(points))
    outer = np.empty((1, 1), dtype=object)
    outer[0, 0] = inner
    scipy.io.savemat(path, {"image_info": outer}, appendmat=False)
