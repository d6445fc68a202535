"""The map's sum is the number of heads, wherever they are; checked against a loop over points and pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crowd_counting.density import Kernel, adaptive_sigmas, render_batch, render_density
from ean_core.utils.errors import EANError
from tests.crowd_counting.conftest import random_points

KERNELS = ("fixed:4", "fixed:15", "fixed:0.3", "adaptive", "dots")


def slow_density(points: np.ndarray, size: tuple[int, int], stride: int, sigmas: np.ndarray | None) -> np.ndarray:
    """One head after the other, in float64: weigh all pixels, divide by the sum, add; then sum blocks."""
    height, width = size
    full = np.zeros((-(-height // stride) * stride, -(-width // stride) * stride))
    for index, (x, y) in enumerate(points.astype(np.float64)):
        if not (0 <= x < width and 0 <= y < height):
            continue
        kernel = np.zeros(size)
        if sigmas is None:
            kernel[min(math.floor(y + 0.5), height - 1), min(math.floor(x + 0.5), width - 1)] = 1
        else:
            for row in range(height):
                for column in range(width):
                    kernel[row, column] = math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigmas[index] ** 2))
        full[:height, :width] += kernel / kernel.sum()
    out = np.zeros((full.shape[0] // stride, full.shape[1] // stride))
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            out[row, column] = full[row * stride : (row + 1) * stride, column * stride : (column + 1) * stride].sum()
    return out


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("stride", [1, 2, 8, 16])
@pytest.mark.parametrize("size", [(37, 53), (64, 96), (1, 1), (5, 200)])
def test_sum_is_the_number_of_heads(kernel: str, stride: int, size: tuple[int, int]) -> None:
    height, width = size
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    borders = [(width / 2, 0), (0, height / 2), (np.nextafter(np.float32(width), np.float32(0)), height - 0.5)]
    points = np.array([*corners, *borders, *random_points(40, size), *[(width / 2, height / 2)] * 7], dtype=np.float32)
    density = render_density(points, size=size, stride=stride, kernel=kernel)
    assert density.shape == (math.ceil(height / stride), math.ceil(width / stride))
    assert density.dtype == torch.float32
    assert float(density.min()) >= 0
    assert float(density.sum()) == pytest.approx(len(points), rel=1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_points_outside_the_image_are_left_out(kernel: str) -> None:
    inside = random_points(20, (40, 60))
    outside = np.array([(-0.01, 5), (60, 5), (5, 40), (5, -3), (1e6, 1e6)], dtype=np.float32)
    density = render_density(np.concatenate([inside, outside]), size=(40, 60), kernel=kernel)
    assert torch.equal(density, render_density(inside, size=(40, 60), kernel=kernel))


@pytest.mark.parametrize("kernel", ["fixed:2", "adaptive", "dots"])
@pytest.mark.parametrize("stride", [1, 4])
def test_against_a_loop(kernel: str, stride: int) -> None:
    size = (19, 23)
    points = np.concatenate([random_points(9, size), [(0, 0), (22.9, 18.9), (3, 3), (3, 3), (-4, 2), (23, 1)]])
    points = points.astype(np.float32)
    kept = points[(points >= 0).all(axis=1) & (points[:, 0] < 23) & (points[:, 1] < 19)]
    sigmas = None
    if kernel != "dots":
        sigmas = np.full(len(kept), 2.0) if kernel == "fixed:2" else slow_sigmas(kept)
    expected = slow_density(kept, size, stride, sigmas)
    np.testing.assert_allclose(render_density(points, size, stride, kernel).numpy(), expected, rtol=2e-4, atol=1e-6)


def slow_sigmas(points: np.ndarray) -> np.ndarray:
    """0.3 times the mean of the three smallest distances to other points."""
    sums = []
    for index, point in enumerate(points.astype(np.float64)):
        others = np.delete(points.astype(np.float64), index, axis=0)
        nearest = sorted(math.dist(point, other) for other in others)[:3]
        sums.append(max(0.3 * sum(nearest) / len(nearest), 0.1))
    return np.array(sums)


def test_adaptive_spread() -> None:
    points = random_points(50, (100, 100))
    np.testing.assert_allclose(adaptive_sigmas(points), slow_sigmas(points), rtol=1e-4)
    np.testing.assert_allclose(adaptive_sigmas(points[:3]), slow_sigmas(points[:3]), rtol=1e-4)  # fewer than 3 others
    assert adaptive_sigmas(points[:1]).tolist() == [15.0]
    assert len(adaptive_sigmas(points[:0])) == 0


def test_duplicates_add_up() -> None:
    density = render_density([(7, 5), (7, 5), (7, 5)], size=(12, 16), kernel="dots")
    assert density[5, 7] == 3


@pytest.mark.parametrize("x", [20.0, 20.3, 20.5])
def test_kernel_stands_at_the_true_center(x: float) -> None:
    density = render_density([(x, 25.0)], size=(50, 41), kernel="fixed:3").double()
    assert float((density.sum(dim=0) * torch.arange(41)).sum()) == pytest.approx(x, abs=1e-3)
    assert float((density.sum(dim=1) * torch.arange(50)).sum()) == pytest.approx(25.0, abs=1e-3)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mirrored_points_give_the_mirrored_map(kernel: str) -> None:
    size = (40, 56)
    points = random_points(30, (40, 55))  # no point in the outer half of the last pixel
    mirrored = points * (-1, 1) + (55, 0)
    density = render_density(points, size, 8, kernel)
    torch.testing.assert_close(
        render_density(mirrored.astype(np.float32), size, 8, kernel), density.flip(1), rtol=1e-3, atol=1e-5
    )


def test_stride_is_block_sums() -> None:
    points = random_points(30, (37, 50))
    fine = torch.nn.functional.pad(render_density(points, (37, 50)), (0, 6, 0, 3))
    blocks = fine.view(5, 8, 7, 8).sum(dim=(1, 3))
    torch.testing.assert_close(render_density(points, (37, 50), stride=8), blocks)


@pytest.mark.parametrize("kernel", KERNELS)
def test_batch_equals_single(kernel: str) -> None:
    sizes = [(37, 53), (64, 64), (20, 64), (30, 30)]
    points = [random_points(count, size) for count, size in zip([30, 3, 11, 0], sizes, strict=True)]
    found = [Kernel.parse(kernel).sigmas(heads) for heads in points]
    sigmas = None if found[0] is None else [torch.from_numpy(values) for values in found]
    batch = render_batch([torch.from_numpy(p) for p in points], torch.tensor(sizes), sigmas, shape=(64, 64), stride=8)
    for one, size, density in zip(points, sizes, batch, strict=True):
        rows, columns = (-(-side // 8) for side in size)
        torch.testing.assert_close(density[:rows, :columns], render_density(one, size, 8, kernel))
        assert float(density.sum()) == pytest.approx(len(one), rel=1e-4)  # and nothing in the padding


def test_many_heads_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points = random_points(100, (32, 32))
    whole = render_density(points, (32, 32))
    monkeypatch.setattr("crowd_counting.density.CHUNK", 7)
    torch.testing.assert_close(render_density(points, (32, 32)), whole)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", KERNELS)
def test_gpu_equals_cpu(kernel: str) -> None:
    points = torch.from_numpy(random_points(300, (101, 203)))
    density = render_density(points.cuda(), (101, 203), 8, kernel)
    assert density.is_cuda
    torch.testing.assert_close(density.cpu(), render_density(points, (101, 203), 8, kernel), rtol=1e-4, atol=1e-5)


def test_no_heads() -> None:
    for empty in ([], np.zeros((0, 2)), torch.zeros(0, 2)):
        assert float(render_density(empty, (9, 9), 4).sum()) == 0


@pytest.mark.parametrize("kernel", ["gauss", "fixed", "fixed:", "fixed:0", "fixed:-1", "fixed:nan", "dots:3", ""])
def test_unknown_kernel(kernel: str) -> None:
    with pytest.raises(EANError, match="kernel must be 'fixed:SIGMA' with SIGMA above 0 and at most 1000 pixels"):
        render_density([(1, 1)], (8, 8), kernel=kernel)


@pytest.mark.parametrize("points", [[(1, 2, 3)], [1, 2], [(math.nan, 1)], [(math.inf, 1)]])
def test_points_of_another_form(points: list) -> None:
    with pytest.raises(EANError, match="points must be finite and of shape"):
        render_density(points, (8, 8))


@pytest.mark.parametrize(("size", "stride"), [((0, 8), 1), ((8, 8), 0)])
def test_impossible_size(size: tuple[int, int], stride: int) -> None:
    with pytest.raises(EANError, match="size and stride must be at least 1"):
        render_density([(1, 1)], size, stride)
