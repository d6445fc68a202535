"""Crops, flips and cutout of a batch against loops over its pixels."""

from __future__ import annotations

import pytest
import torch

from ean_core.data import Augment
from ean_core.data.augment import AugmentParams
from ean_core.utils.errors import EANError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int, channels: int = 3, height: int = 8, width: int = 10) -> torch.Tensor:
    return torch.randint(1, 256, (count, channels, height, width), generator=generator(7), dtype=torch.uint8)


def slowly(images: torch.Tensor, params: AugmentParams, augment: Augment) -> torch.Tensor:
    """The same, pixel after pixel."""
    count, channels, height, width = images.shape
    out = torch.zeros_like(images)
    fill = augment.cutout_fill
    for n in range(count):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    x_in_crop = width - 1 - x if params.flip[n] else x
                    source_y = y + int(params.top[n]) - augment.crop_padding
                    source_x = x_in_crop + int(params.left[n]) - augment.crop_padding
                    if 0 <= source_y < height and 0 <= source_x < width:
                        out[n, c, y, x] = images[n, c, source_y, source_x]
                    first_y = int(params.cut_row[n]) - augment.cutout // 2
                    first_x = int(params.cut_column[n]) - augment.cutout // 2
                    if first_y <= y < first_y + augment.cutout and first_x <= x < first_x + augment.cutout:
                        out[n, c, y, x] = fill if isinstance(fill, int) else fill[c]
    return out


@pytest.mark.parametrize(
    "augment",
    [
        Augment(),
        Augment(crop_padding=0),
        Augment(crop_padding=0, flip=False),
        Augment(crop_padding=2, flip=False, cutout=3),
        Augment(crop_padding=3, cutout=4, cutout_fill=(9, 8, 7)),
        Augment(crop_padding=0, flip=False, cutout=30, cutout_fill=200),
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_batched_equals_pixel_after_pixel(augment, channels):
    if channels == 1 and not isinstance(augment.cutout_fill, int):
        pytest.skip("three values for one channel")
    images = batch(24, channels)
    before = images.clone()
    out = augment(images, generator(1))
    assert out.dtype == torch.uint8
    assert torch.equal(out, slowly(images, augment.sample(24, 8, 10, generator(1)), augment))
    assert torch.equal(images, before)


def test_draws_cover_every_offset_centre_and_flip_evenly():
    params = Augment(crop_padding=4, cutout=2).sample(9000, 8, 10, generator())
    for name, values in (("top", 9), ("left", 9), ("flip", 2), ("cut_row", 8), ("cut_column", 10)):
        counts = getattr(params, name).long().bincount(minlength=values)
        assert len(counts) == values, name
        assert (counts - 9000 / values).abs().max() < 5 * (9000 / values) ** 0.5, name
    assert not torch.equal(params.top, params.left)


def test_flip_mirrors_columns():
    images = batch(64)
    out = Augment(crop_padding=0)(images, generator())
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    kept = (out == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 16 < mirrored.sum() < 48
    assert torch.equal(Augment(crop_padding=0, flip=False)(images, generator()), images)


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_cutout_has_its_side_inside_and_is_clipped_at_the_border(side):
    images = torch.full((900, 3, 9, 9), 50, dtype=torch.uint8)
    augment = Augment(crop_padding=0, flip=False, cutout=side)
    params = augment.sample(900, 9, 9, generator())
    blank = (augment.apply(images, params) == 0).all(1)  # (B, H, W)
    inside = ((params.cut_row - 4).abs() <= 2) & ((params.cut_column - 4).abs() <= 2)
    assert inside.any()
    assert (blank[inside].sum((1, 2)) == side * side).all()
    at_the_corner = (params.cut_row == 0) & (params.cut_column == 0)
    assert at_the_corner.any()
    visible = side - side // 2
    assert (blank[at_the_corner].sum((1, 2)) == visible * visible).all()
    assert blank.any(0).all()  # every pixel can go


def test_switching_one_change_off_leaves_the_other_draws():
    with_all = Augment(cutout=4).sample(50, 8, 8, generator())
    without = Augment(flip=False, cutout=0).sample(50, 8, 8, generator())
    assert torch.equal(with_all.top, without.top)
    assert torch.equal(with_all.cut_row, without.cut_row)
    assert not without.flip.any()


def test_wrong_options():
    with pytest.raises(EANError, match=r"crop_padding=-1"):
        Augment(crop_padding=-1)
    with pytest.raises(EANError, match=r"cutout_fill=300"):
        Augment(cutout_fill=300)
    with pytest.raises(EANError, match=r"cutout_fill has 2 values and images have 3 channels"):
        Augment(cutout=2, cutout_fill=(1, 2))(batch(2), generator())
