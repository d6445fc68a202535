"""A made-up crowd in ShanghaiTech's layout: light discs of several sizes on a mottled ground, a head each.

It shows the commands at work in minutes; how a counter does on it says nothing of real crowds.
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


def draw_demo(root: Path, *, train: int = 60, test: int = 20, seed: int = 0) -> Path:
    """Draw ROOT/part_demo with so many training and test images; some are grayscale.

    Raises:
        EANError: if it is there already.
    """
    folder = root / PART
    if folder.exists():
        raise EANError(f"{folder} is there already: remove it to draw it again, or give another --data-root")
    with atomic_folder(folder) as temporary:
        draw_parts(temporary, train=train, test=test, seed=seed)
    return folder


def draw_parts(folder: Path, *, train: int, test: int, seed: int) -> None:
    """The images and annotations of both parts."""
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
    """uint8 (H, W, 3) and its heads, float64 (N, 2) as x, y; smaller towards the top."""
    height, width = SIZE
    coarse = rng.uniform(20, 110, (height // 16, width // 16, 3)).astype(np.float32)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels += rng.normal(0, 6, pixels.shape)
    count = int(rng.integers(5, 90))
    y = height * rng.power(1.2, count)
    x = rng.uniform(0, width, count)
    order = np.argsort(y)  # the near ones last, in front
    points = np.stack([x[order], y[order]], axis=1)
    for at in points:
        radius = 1.5 + 3.5 * at[1] / height
        colour = rng.uniform(150, 250, 3)
        centre = tuple(round(16 * float(value)) for value in at)  # in sixteenths of a pixel
        cv2.circle(pixels, centre, int(16 * radius), colour.tolist(), -1, cv2.LINE_AA, shift=4)
    return np.clip(pixels, 0, 255).astype(np.uint8), points


def save_mat(path: Path, points: np.ndarray) -> None:
    """An annotation file of ShanghaiTech's form: image_info[0, 0][0, 0] is (points, number)."""
    inner = np.empty((1, 1), dtype=[("location", object), ("number", object)])
    inner[0, 0] = (np.asarray(points, dtype=np.float64).reshape(-1, 2), len(points))
    outer = np.empty((1, 1), dtype=object)
    outer[0, 0] = inner
    scipy.io.savemat(path, {"image_info": outer}, appendmat=False)
