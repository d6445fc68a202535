"""Properties that hold for any image: mass is conserved, and views commute with rendering."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowd_counting.data.crops import Crop
from crowd_counting.density import render_density

KERNELS = st.sampled_from(["fixed:0.4", "fixed:2", "fixed:9", "adaptive", "dots"])
SETTINGS = settings(max_examples=60, deadline=None, derandomize=True)  # the same cases on every machine


@st.composite
def crowds(draw: st.DrawFn) -> tuple[tuple[int, int], np.ndarray]:
    """An image size, and points in it, on its borders, on each other and outside."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    anywhere = st.tuples(st.floats(-5, width + 5, width=32), st.floats(-5, height + 5, width=32))
    edges = st.tuples(st.sampled_from([0.0, width - 1.0, width / 2]), st.sampled_from([0.0, height - 1.0]))
    points = draw(st.lists(st.one_of(anywhere, edges), max_size=12))
    points += draw(st.lists(st.sampled_from(points), max_size=4)) if points else []  # duplicates
    return (height, width), np.array(points, dtype=np.float32).reshape(-1, 2)


def heads_inside(points: np.ndarray, size: tuple[int, int]) -> int:
    """Count the heads inside the image in a loop."""
    return sum(0 <= float(x) < size[1] and 0 <= float(y) < size[0] for x, y in points)


@SETTINGS
@given(crowd=crowds(), stride=st.sampled_from([1, 2, 3, 8, 16]), kernel=KERNELS)
@example(crowd=((1, 1), np.zeros((5, 2), dtype=np.float32)), stride=16, kernel="adaptive")
@example(crowd=((17, 9), np.zeros((0, 2), dtype=np.float32)), stride=8, kernel="fixed:2")
def test_the_sum_is_the_number_of_heads_inside(
    crowd: tuple[tuple[int, int], np.ndarray], stride: int, kernel: str
) -> None:
    size, points = crowd
    density = render_density(points, size, stride, kernel)
    heads = heads_inside(points, size)
    assert density.shape == tuple(math.ceil(side / stride) for side in size)
    assert float(density.min()) >= 0
    assert math.isclose(float(density.double().sum()), heads, rel_tol=1e-4, abs_tol=1e-9)


@SETTINGS
@given(crowd=crowds(), kernel=st.sampled_from(["fixed:2", "fixed:9"]))
def test_mirroring_commutes_with_rendering(crowd: tuple[tuple[int, int], np.ndarray], kernel: str) -> None:
    (height, width), points = crowd
    points = points[
        points[:, 0] <= width - 1
    ]  # in the outer half of the last pixel, mirroring moves them onto the edge
    view = Crop(0, 0, height, width, height, width, mirrored=True)
    mirrored, _ = view.apply_to_points(points)
    expected = render_density(points, (height, width), 1, kernel).flip(1)
    torch.testing.assert_close(render_density(mirrored, (height, width), 1, kernel), expected, rtol=1e-3, atol=1e-5)


@SETTINGS
@given(crowd=crowds(), data=st.data())
def test_a_crop_holds_the_heads_of_its_window(crowd: tuple[tuple[int, int], np.ndarray], data: st.DataObject) -> None:
    size, points = crowd
    corner = [data.draw(st.integers(0, side - 1)) for side in size]
    sides = [data.draw(st.integers(1, side - start)) for side, start in zip(size, corner, strict=True)]
    view = Crop(*corner, *sides, *sides)
    moved, kept = view.apply_to_points(points)
    window = points - np.array(corner[::-1], dtype=np.float32)
    assert kept.sum() == len(moved) == heads_inside(window, (sides[0], sides[1]))
    # dots land on the nearest pixel, so that within the window the two maps are the same
    inner = moved[(moved + 0.5 < np.array(sides[::-1])).all(axis=1)]
    whole = render_density(inner + np.array(corner[::-1], dtype=np.float32), size, 1, "dots")
    part = whole[corner[0] : corner[0] + sides[0], corner[1] : corner[1] + sides[1]]
    assert torch.equal(part, render_density(inner, (sides[0], sides[1]), 1, "dots"))


@SETTINGS
@given(crowd=crowds(), factor=st.floats(0.4, 2.5))
def test_scaling_keeps_the_heads(crowd: tuple[tuple[int, int], np.ndarray], factor: float) -> None:
    (height, width), points = crowd
    out = (max(1, round(height * factor)), max(1, round(width * factor)))
    moved, _ = Crop(0, 0, height, width, *out).apply_to_points(points)
    assert math.isclose(
        float(render_density(moved, out, 1, "fixed:2").double().sum()),
        heads_inside(points, (height, width)),
        rel_tol=1e-4,
        abs_tol=1e-9,
    )
