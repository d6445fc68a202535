"""Points and maps go where the pixels go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from crowd_counting.data.crops import Crop, random_crop
from crowd_counting.density import render_density
from ean_core.data.seeding import generator_for
from tests.crowd_counting.conftest import random_points


def marked(points: list[tuple[int, int]], size: tuple[int, int]) -> Image.Image:
    """A black image with a white pixel at every point."""
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    for x, y in points:
        pixels[y, x] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("mirrored", [False, True])
def test_pixels_and_points_of_a_crop_agree(mirrored: bool) -> None:
    points = [(10, 7), (19, 12), (3, 3), (20, 12), (13, 20), (12, 14)]
    view = Crop(5, 9, 12, 11, 12, 11, mirrored)  # rows 5 to 16, columns 9 to 19
    image = view.apply_to_image(marked(points, (30, 40)))
    moved, kept = view.apply_to_points(np.array(points, dtype=np.float32))
    assert kept.tolist() == [True, True, False, False, False, True]
    white = {(int(x), int(y)) for y, x in image[0].nonzero()}
    assert {(int(x), int(y)) for x, y in moved} == white
    assert len(white) == 3


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("scale", [2, 3])
def test_pixels_and_points_of_a_scaled_view_agree(mirrored: bool, scale: int) -> None:
    """A blown-up white pixel has its middle where its point goes."""
    view = Crop(4, 6, 20, 24, 20 * scale, 24 * scale, mirrored)
    image = view.apply_to_image(marked([(15, 11)], (40, 40)))[0].double()
    moved, _ = view.apply_to_points(np.array([(15, 11)], dtype=np.float32))
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in image.shape)
    assert float((image.sum(dim=0) * columns).sum() / image.sum()) == pytest.approx(moved[0, 0], abs=0.02)
    assert float((image.sum(dim=1) * rows).sum() / image.sum()) == pytest.approx(moved[0, 1], abs=0.02)


def test_no_head_of_the_window_is_lost() -> None:
    """Also those in the outer halves of border pixels, whatever the scale."""
    generator, points = generator_for(1), random_points(3000, (50, 70))
    for _ in range(60):
        view = random_crop((50, 70), generator, crop=32, scales=(0.6, 1.7))
        moved, kept = view.apply_to_points(points)
        x, y = points[:, 0] - view.left, points[:, 1] - view.top
        assert np.array_equal(kept, (x >= 0) & (x < view.width) & (y >= 0) & (y < view.height))
        density = render_density(moved, (view.out_height, view.out_width), 8)
        assert float(density.sum()) == pytest.approx(kept.sum(), rel=1e-4)


def test_neighboring_crops_split_the_heads() -> None:
    points = random_points(500, (60, 80))
    kept = sum(Crop(0, left, 60, 20, 60, 20).apply_to_points(points)[1].astype(int) for left in (0, 20, 40, 60))
    assert (kept == 1).all()


def test_random_crops_stay_inside_and_fill_the_crop() -> None:
    generator, mirrored = generator_for(0), 0
    for _ in range(200):
        view = random_crop((90, 41), generator, crop=48, scales=(0.8, 1.25))
        assert 0 <= view.top <= 90 - view.height
        assert 0 <= view.left <= 41 - view.width
        assert view.out_height == 48
        assert view.out_width <= 48  # the image is narrower than the crop
        mirrored += view.mirrored
    assert 60 < mirrored < 140
    assert random_crop((90, 41), generator, crop=None, flip=False) == Crop.full_image((90, 41))


def test_a_view_of_a_map_is_the_map_of_the_view() -> None:
    """Away from the crop's border, where the cached map has mass of heads outside."""
    points = random_points(40, (64, 96))
    whole = render_density(points, (64, 96), 8, "dots").numpy()
    generator = generator_for(2)
    for _ in range(20):
        view = random_crop((64, 96), generator, crop=32, align=8)
        part = view.apply_to_density(whole, stride=8)
        shifted = np.floor(points + 0.5)  # dots stand on whole pixels, which no crop parts
        moved, _ = view.apply_to_points(np.minimum(shifted, (95, 63)).astype(np.float32))
        torch.testing.assert_close(part, render_density(moved, (32, 32), 8, "dots"))
