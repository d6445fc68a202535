"""Cut the README's strip of pictures from three pictures under results/, and write docs/strip.jpg.

python docs/make_strip.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
HEIGHT, GAP = 300, 12
TILES = ((10, 993), (224, 993), (440, 993), (654, 993))
"""Left and upper pixel of the elephant's four pictures in the Grad-CAM grid: image, Org, Share-full, EAN."""
SIDE = 196
CROWD = (776, 0, 1480, 320)
PHOTO, PREDICTION = (0, 22, 499, 396), (1013, 22, 1512, 396)
"""The first photo of the segmentations, and its prediction."""
PERSON = (255, 60, 140)


def main() -> None:
    """Cut the three parts from the records' pictures, and write them side by side."""
    parts = [heatmaps(), open_picture("counting_part_A_r29_ean.overlays.jpg").crop(CROWD), segmentation()]
    parts = [
        part.resize((round(part.width * HEIGHT / part.height), HEIGHT), Image.Resampling.LANCZOS) for part in parts
    ]
    strip = Image.new("RGB", (sum(part.width + GAP for part in parts) - GAP, HEIGHT), "white")
    left = 0
    for part in parts:
        strip.paste(part, (left, 0))
        left += part.width + GAP
    strip.save(ROOT / "docs" / "strip.jpg", quality=85)


def open_picture(name: str) -> Image.Image:
    """A picture under results/, as RGB."""
    return Image.open(ROOT / "results" / name).convert("RGB")


def heatmaps() -> Image.Image:
    """An image and the heatmaps of three networks, two by two."""
    grid, square = open_picture("gradcam_cifar.jpg"), Image.new("RGB", (2 * SIDE + 4, 2 * SIDE + 4), "white")
    for number, (x, y) in enumerate(TILES):
        tile = grid.crop((x, y, x + SIDE, y + SIDE))
        square.paste(tile, (number % 2 * (SIDE + 4), number // 2 * (SIDE + 4)))
    return square


def segmentation() -> Image.Image:
    """A photo, colored where the prediction is a person."""
    picture = open_picture("segmentation_voc_person_subset.predictions.jpg")
    photo, prediction = (np.asarray(picture.crop(box), dtype=float) for box in (PHOTO, PREDICTION))
    person = prediction.mean(axis=2, keepdims=True) > 60
    return Image.fromarray(np.where(person, 0.55 * photo + 0.45 * np.array(PERSON), photo).astype(np.uint8))


if __name__ == "__main__":
    main()
