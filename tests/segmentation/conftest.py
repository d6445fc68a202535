"""A tiny data set in VOC's layout, and a tiny recipe over the small one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentation.third_party import ignore_warnings

ignore_warnings()

from mmengine.config import Config  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402

from segmentation.data.masks import save_mask  # noqa: E402
from segmentation.data.voc import PALETTE  # noqa: E402
from segmentation.job import Job  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

CONFIGS = ROOT / "segmentation" / "configs"
SMALL = CONFIGS / "ean_se_voc_small.py"
TINY: dict[str, Any] = {
    "model.backbone.scheme": "001001001",
    "model.decode_head.channels": 8,
    "model.data_preprocessor.size": (32, 32),
    "train_dataloader.batch_size": 2,
    "train_dataloader.dataset.pipeline.2.scale": (40, 40),
    "train_dataloader.dataset.pipeline.3.crop_size": (32, 32),
    "val_dataloader.dataset.pipeline.1.scale": (40, 40),
    "test_dataloader.dataset.pipeline.1.scale": (40, 40),
    "train_cfg.max_iters": 4,
    "train_cfg.val_interval": 4,
    "custom_hooks.1.interval": 2,
}
"""Options over the small recipe: a training step takes some 30 ms."""


def flags(**more: Any) -> list[str]:
    """`TINY` and more options as a user types them; `__` stands for a dot."""
    options = {**TINY, **{name.replace("__", "."): value for name, value in more.items()}}
    return ["--cfg-options", *(f"{name}={value}" for name, value in options.items())]


def draw_voc(root: Path, *, train: int = 5, val: int = 3, size: tuple[int, int] = (36, 45)) -> Path:
    """VOC's layout with noise and boxes of classes 15 (person) and 7, bordered by 255."""
    rng = np.random.default_rng(0)
    voc = root / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    for part, count, start in (("train", train, 1), ("val", val, 500)):
        names = [f"2007_{number:06d}" for number in range(start, start + count)]
        (voc / f"ImageSets/Segmentation/{part}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            labels = np.zeros(size, np.uint8)
            for label in (15, 7):
                top, left = int(rng.integers(0, size[0] - 20)), int(rng.integers(0, size[1] - 20))
                labels[top : top + 18, left : left + 18] = 255
                labels[top + 1 : top + 17, left + 1 : left + 17] = label
            pixels = rng.integers(0, 90, (*size, 3)) + 100 * (labels[..., None] == 15)
            Image.fromarray(pixels.astype(np.uint8)).save(voc / "JPEGImages" / f"{name}.jpg")
            save_mask(voc / "SegmentationClass" / f"{name}.png", labels, PALETTE)
    return voc


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    """mmsegmentation's registries filled; configs are logged unformatted, as formatting takes longer than training."""
    register_all_modules(init_default_scope=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, "pretty_text", property(lambda config: repr(config.to_dict())))
        yield


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """The root of a tiny VOC 2012 below tmp_path/data."""
    return draw_voc(tmp_path / "data")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data/ and run/last.pth of the tiny recipe."""
    root = tmp_path_factory.mktemp("trained")
    draw_voc(root / "data")
    Job.prepare(SMALL, options=TINY, data_root=str(root / "data"), directory=root / "run").run()
    return root
