"""Tiny crowd data sets in the real on-disk formats, and the commands as a user calls them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crowd_counting.data.demo import save_mat
from crowd_counting.data.points import CrowdData
from crowd_counting.data.shanghaitech import load_shanghaitech
from crowd_counting.model.network import build_counter
from crowd_counting.model.training_model import CountingModel
from ean_core.data.normalize import Normalize
from tests.conftest import Script

TINY = ("--arch", "resnet20", "--epochs", "2", "--batch-size", "2", "--lr", "1e-3", "--cfg-options", "data.crop=48")
TINY += ("data.workers=0", "model.head_channels=8", "train.validate_every=1")


def write_pair(folder: Path, number: int, points: object, *, size: tuple[int, int], gray: bool = False) -> None:
    """An image of (H, W) with noise and its .mat, below train_data or test_data."""
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    image.convert("L" if gray else "RGB").save(folder / "images" / f"IMG_{number}.jpg")
    points_folder = next((f for f in (folder / "ground-truth", folder / "ground_truth") if f.is_dir()), None)
    if points_folder is None:
        points_folder = folder / "ground-truth"
        points_folder.mkdir()
    save_mat(points_folder / f"GT_IMG_{number}.mat", np.asarray(points))


def random_points(count: int, size: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """float32 (count, 2) as x, y anywhere in an image (H, W)."""
    unit = np.random.default_rng(seed).random((count, 2))
    return (unit * (size[1], size[0])).astype(np.float32)


def draw_crowd(root: Path) -> Path:
    """part_A with 8 training and 3 test images of odd and unlike sizes, one grayscale, one below the crop size."""
    sizes = [(70, 93), (64, 80), (41, 45), (75, 66), (64, 64), (90, 71), (66, 81), (72, 72)]
    for number, size in enumerate(sizes, start=1):
        points = random_points(3 + number, size, seed=number)
        write_pair(root / "part_A" / "train_data", number, points, size=size, gray=number == 2)
    for number, size in enumerate([(61, 77), (72, 64), (66, 66)], start=1):
        points = random_points(2 * number, size, seed=50 + number)
        write_pair(root / "part_A" / "test_data", number, points, size=size, gray=number == 3)
    return root


@pytest.fixture
def crowd_root(tmp_path: Path) -> Path:
    """The directory of a data set that `draw_crowd` has drawn."""
    return draw_crowd(tmp_path / "data")


@pytest.fixture
def crowd(crowd_root: Path) -> CrowdData:
    """Part A of `crowd_root`, as the reader gives it."""
    return load_shanghaitech(crowd_root, "A")


@pytest.fixture
def model() -> CountingModel:
    """An untrained counter whose maps vary."""
    torch.manual_seed(0)
    counter = build_counter("resnet20", head_channels=8)
    torch.nn.init.normal_(counter.head[-1].weight, std=2.0)
    return CountingModel(counter, Normalize((0.5,) * 3, (0.25,) * 3)).eval()


@pytest.fixture
def script(script: Script) -> Script:
    """`script("train", "--part", "A")` runs crowd_counting/train.py."""
    return lambda name, *arguments: script(f"crowd_counting/{name}.py", *arguments)
