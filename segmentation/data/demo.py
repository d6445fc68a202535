"""Synthetic shapes in Pascal VOC's layout: circles, squares and triangles on mottled backgrounds."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from mmseg.registry import DATASETS
from PIL import Image

from segmentation.data.masks import VOID, save_mask
from segmentation.data.voc import PALETTE, VOCSegmentation

SIZE = (96, 128)  # (H, W) in pixels
SHAPES = ("circle", "square", "triangle")
COLORS = PALETTE[: 1 + len(SHAPES)]
FOLDERS = {"img_path": "JPEGImages", "seg_map_path": "SegmentationClass"}


@DATASETS.register_module()
class VOCShapes(VOCSegmentation):
    """A folder of synthetic shapes, drawn if it does not exist. Arguments as for `VOCSegmentation`."""

    METAINFO: ClassVar[dict[str, Any]] = {"classes": ("background", *SHAPES), "palette": COLORS}
    labels = len(COLORS)

    def __init__(self, *, data_root: str, **arguments: Any) -> None:
        if not Path(data_root).exists():
            draw_shapes(Path(data_root))
        arguments.setdefault("data_prefix", dict(FOLDERS))
        super().__init__(data_root=data_root, **arguments)


def draw_shapes(root: Path, *, train: int = 80, val: int = 24, seed: int = 0) -> None:
    """Draw the data set; the folder appears only when complete, and the first of several processes wins."""
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    rng = np.random.default_rng(seed)
    numbers = {"train": range(train), "val": range(9000, 9000 + val)}
    names = {part: [f"shape_{number:04d}" for number in ids] for part, ids in numbers.items()}
    for folder in (*FOLDERS.values(), "ImageSets/Segmentation"):
        (temporary / folder).mkdir(parents=True)
    for part, part_names in names.items():
        (temporary / "ImageSets/Segmentation" / f"{part}.txt").write_text("\n".join(part_names) + "\n")
        for name in part_names:
            pixels, labels = draw_pair(rng)
            Image.fromarray(pixels).save(temporary / "JPEGImages" / f"{name}.jpg", quality=95)
            save_mask(temporary / "SegmentationClass" / f"{name}.png", labels, COLORS)
    try:
        temporary.chmod(0o755)
        temporary.rename(root)
    except OSError:  # another process was faster
        shutil.rmtree(temporary)
        if not root.is_dir():
            raise


def draw_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw an image, uint8 (H, W, 3), and labels, uint8 (H, W), with a border of 255 around every shape, as in VOC."""
    height, width = SIZE
    coarse = rng.uniform(40, 110, (height // 16, width // 16, 3)).astype(np.float32)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 8, (height, width, 3))
    pixels = np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8))
    labels = np.zeros(SIZE, np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        label, radius = int(rng.integers(1, 1 + len(SHAPES))), int(rng.integers(16, 28))
        x, y = int(rng.integers(radius, width - radius)), int(rng.integers(radius, height - radius))
        outline = outline_of(SHAPES[label - 1], x, y, radius)
        color = rng.uniform(60, 160, 3)
        color[label - 1] = rng.uniform(180, 255)  # a hint that is learned quickly: circles are reddish, ..
        cv2.fillPoly(pixels, [outline], color.tolist(), cv2.LINE_AA)
        cv2.fillPoly(labels, [outline], label)
        cv2.polylines(labels, [outline], True, VOID, 1)
    return pixels, labels


def outline_of(shape: str, x: int, y: int, radius: int) -> np.ndarray:
    """Corner points of a shape, int32 (N, 2) as x, y."""
    count, start = {"circle": (40, 0.0), "square": (4, np.pi / 4), "triangle": (3, -np.pi / 2)}[shape]
    angles = start + 2 * np.pi * np.arange(count) / count
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1).round().astype(np.int32)
