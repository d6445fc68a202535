"""Heatmaps and masks are drawn where they belong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ean_core.inference.explain import grid
from ean_core.inference.explain.grid import (
    MaskRow,
    Row,
    draw_grid,
    draw_masks,
    enlarge,
    mosaic,
    overlay,
    strips,
    wrapped,
)


def test_strips_and_mosaic() -> None:
    picture = strips([None, np.array([1.0, 2.0]), None])
    assert picture.shape == (3, 2)
    assert np.isnan(picture[[0, 2]]).all()
    assert picture[1].tolist() == [1, 2]
    maps = [np.full((2, 3), float(number)) for number in range(8)]
    maps[4] = None
    picture = mosaic(maps)  # six beside each other, then two
    assert picture.shape == (2 * 2 + 1, 6 * 3 + 5)
    assert (picture[:2, 4:7] == 1).all()
    assert np.isnan(picture[:2, 16:19]).all()
    assert (picture[3:, 4:7] == 7).all()
    assert np.isnan(picture[2]).all()


def test_pictures_are_enlarged_and_blended() -> None:
    assert enlarge(np.zeros((32, 32, 3), np.uint8)).shape == (288, 288, 3)
    assert enlarge(np.zeros((400, 1200), np.float32)).shape == (96, 288)
    image = np.full((8, 4, 3), 100, np.uint8)
    heat = np.zeros((8, 4), np.float32)
    heat[6:] = 1
    blended = overlay(image, heat)
    assert blended.shape == (288, 144, 3)
    cold, hot = blended[0, 0].astype(int), blended[-1, 0].astype(int)
    assert cold[2] > cold[0], "cold is blue"
    assert hot[0] > hot[2], "hot is red"


def test_drawing_takes_unlike_rows(tmp_path: Path) -> None:
    wide, tall = np.zeros((10, 40, 3), np.uint8), np.zeros((40, 10, 3), np.uint8)
    rows = [Row("a", image, [image], [np.zeros(image.shape[:2], np.float32)], ["x"]) for image in (wide, tall)]
    with Image.open(draw_grid(tmp_path / "g.png", rows, ["net"])) as picture:
        assert picture.height > 2 * 288, "a row each"
    depths = [[np.linspace(0, 1, 8)] * 18, [None] * 18]
    with Image.open(draw_masks(tmp_path / "m.png", [MaskRow("a", wide, depths)], title="t")) as picture:
        assert picture.width > 288


def test_long_names_in_the_grid_are_broken_so_that_neighbours_stay_apart() -> None:
    text = wrapped("ean-seed0\nresnet29, contrast.py:Contrast 9/9\n" + "x" * 40)
    assert text.split("\n") == ["ean-seed0", "resnet29,", "contrast.py:Contrast 9/9", "x" * 28, "x" * 12]
    assert wrapped("") == ""


def test_only_stages_with_masks_have_channels_to_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(grid, "save", lambda figure, path: figures.append(figure) or path)
    image = np.zeros((10, 10, 3), np.uint8)
    draw_masks(tmp_path / "m.png", [MaskRow("a", image, [[np.linspace(0, 1, 8), None], [None]])], title="t")
    _, first, second, bar = figures[0].axes
    assert (first.get_xlabel(), second.get_xlabel()) == ("channel", "")
    assert list(second.get_xticks()) == []
    assert bar.get_ylabel() == "factor on the residual"
