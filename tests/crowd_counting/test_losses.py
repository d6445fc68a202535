"""Each loss against its formula written out in loops, and none of them stands still."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.stats import poisson
from torch import Tensor

from crowd_counting.density import render_density
from crowd_counting.model.losses import (
    LOSSES,
    Bayesian,
    DMCount,
    Loss,
    PoissonCounts,
    ScaledMSE,
    Target,
    ZeroInflatedCounts,
    sinkhorn,
)
from crowd_counting.model.zero_inflated import ZeroInflated
from ean_core.utils.errors import EANError
from tests.crowd_counting.conftest import random_points

SIZES = [(32, 40), (24, 17), (32, 40)]
STRIDE = 8


def make_target(*, counts: tuple[int, ...] = (6, 3, 0)) -> Target:
    points = [torch.from_numpy(random_points(n, size, seed=n)) for n, size in zip(counts, SIZES, strict=True)]
    sigmas = [torch.full((len(heads),), 4.0) for heads in points]
    return Target(points, torch.tensor(SIZES), STRIDE, sigmas)


def make_density() -> Tensor:
    """(3, 4, 5), zero in the second image's padding."""
    density = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)) + 0.05
    density[1, 3:] = 0
    density[1, :, 3:] = 0
    return density


def cells_of(number: int) -> list[tuple[int, int]]:
    height, width = SIZES[number]
    return [(row, column) for row in range(math.ceil(height / 8)) for column in range(math.ceil(width / 8))]


def test_mse_on_scaled_maps() -> None:
    target, density = make_target(), make_density()
    squares = []
    for number, size in enumerate(SIZES):
        truth = render_density(target.points[number], size, STRIDE, "fixed:4")
        for row, column in cells_of(number):
            squares.append((50.0 * float(density[number, row, column] - truth[row, column])) ** 2)
    assert float(ScaledMSE(scale=50.0)(density, target)) == pytest.approx(np.mean(squares), rel=1e-4)


def test_mse_takes_given_maps() -> None:
    given = make_density()
    target = Target(make_target().points, torch.tensor(SIZES), STRIDE, None, given)
    assert float(ScaledMSE()(given, target)) == 0


@pytest.mark.parametrize("blocks", [(8,), (16, 24)])
def test_poisson(blocks: tuple[int, ...]) -> None:
    """Against SciPy's Poisson distribution, block by block."""
    target, density, losses = make_target(), make_density(), []
    for number in range(len(SIZES)):
        heads = [(int(y // STRIDE), int(x // STRIDE)) for x, y in target.points[number].tolist()]
        loss = 0.5 * abs(float(density[number].sum()) - len(heads))
        for side in (block // STRIDE for block in blocks):
            for top, left in itertools.product(range(0, 4, side), range(0, 5, side)):
                mean = float(density[number, top : top + side, left : left + side].double().sum())
                count = sum(top <= row < top + side and left <= column < left + side for row, column in heads)
                loss += poisson.logpmf(count, count) - poisson.logpmf(count, mean)
        losses.append(loss)
    found = float(PoissonCounts(blocks=blocks, count_weight=0.5)(density, target))
    assert found == pytest.approx(np.mean(losses), rel=1e-4)


def test_poisson_is_zero_for_the_true_map_only() -> None:
    target, shape = make_target(), torch.Size((3, 4, 5))
    assert float(PoissonCounts()(target.dots(shape), target)) == pytest.approx(0, abs=1e-4)
    assert float(PoissonCounts()(target.dots(shape) + 0.1, target)) > 1


def test_poisson_blocks_hold_whole_cells() -> None:
    with pytest.raises(EANError, match="a block of 12 pixels is not a multiple of the map's stride of 8"):
        PoissonCounts(blocks=(12,))(make_density(), make_target())
    for loss in (PoissonCounts, ZeroInflatedCounts):
        with pytest.raises(EANError, match="needs blocks of 1 to 8192 pixels"):
            loss(blocks=())


def test_zero_inflated_counts() -> None:
    """Against SciPy's Poisson distribution, cell by cell; larger blocks and the whole by the expected counts."""
    target, rate = make_target(), 3 * make_density()
    logit = torch.randn(rate.shape, generator=torch.Generator().manual_seed(1))
    losses = []
    for number in range(len(SIZES)):
        heads = [(int(y // STRIDE), int(x // STRIDE)) for x, y in target.points[number].tolist()]
        loss = 0.0
        for cell in cells_of(number):
            mean, nobody = float(rate[number][cell]), 1 / (1 + math.exp(-float(logit[number][cell])))
            count = heads.count(cell)
            likelihood = (1 - nobody) * poisson.pmf(count, mean) + (nobody if count == 0 else 0)
            loss -= math.log(likelihood) - (poisson.logpmf(count, count) if count else 0)
        losses.append(loss)
    expected = rate * (1 - logit.sigmoid())
    coarse = PoissonCounts(blocks=(16,), count_weight=0.5)(expected, target)
    found = ZeroInflatedCounts(blocks=(16,), count_weight=0.5)(ZeroInflated(rate, logit), target)
    assert float(found) == pytest.approx(np.mean(losses) + float(coarse), rel=1e-4)


def test_zero_inflated_counts_without_inflation_are_poisson_counts() -> None:
    never = torch.full((3, 4, 5), -40.0)
    found = ZeroInflatedCounts(blocks=(16,))(ZeroInflated(make_density(), never), make_target())
    assert float(found) == pytest.approx(float(PoissonCounts(blocks=(8, 16))(make_density(), make_target())), rel=1e-4)


def slow_bayesian(density: Tensor, target: Target, *, sigma: float, background: float) -> float:
    losses = []
    for number, size in enumerate(SIZES):
        heads = target.points[number].tolist()
        expected = [0.0] * (len(heads) + 1)
        for row, column in cells_of(number):
            center = (column * 8 + 3.5, row * 8 + 3.5)
            value = float(density[number, row, column])
            if not heads:
                expected[0] += value
                continue
            distances = [math.dist(center, head) for head in heads]
            dummy = background * min(size) - min(distances)
            likelihoods = [math.exp(-(d**2) / (2 * sigma**2)) for d in (*distances, dummy)]
            for index, likelihood in enumerate(likelihoods):
                expected[index] += value * likelihood / sum(likelihoods)
        losses.append(sum(abs(1 - count) for count in expected[:-1]) + abs(expected[-1]))
    return float(np.mean(losses))


def test_bayesian() -> None:
    target, density = make_target(), make_density()
    loss = float(Bayesian(sigma=6.0, background=0.2)(density, target))
    assert loss == pytest.approx(slow_bayesian(density, target, sigma=6.0, background=0.2), rel=1e-4)


def test_dm_count_without_transport() -> None:
    target, density = make_target(), make_density()
    losses = []
    for number, size in enumerate(SIZES):
        total, count = float(density[number].sum()), len(target.points[number])
        loss = abs(total - count)
        if count:
            truth = render_density(target.points[number], size, STRIDE, "dots")
            for row, column in cells_of(number):
                share = float(density[number, row, column]) / total
                loss += 0.3 * count * 0.5 * abs(float(truth[row, column]) / count - share)
        losses.append(loss)
    value = float(DMCount(transport=0.0, variation=0.3)(density, target))
    assert value == pytest.approx(np.mean(losses), rel=1e-4)


def test_sinkhorn_is_near_the_exact_transport() -> None:
    """Against a linear program over all plans."""
    rng = np.random.default_rng(0)
    heads, cells, share = rng.random((4, 2)) * 30, rng.random((7, 2)) * 30, rng.random(7)
    share /= share.sum()
    cost = ((heads[:, None] - cells[None]) ** 2).sum(axis=2)
    rows = [np.kron(np.eye(4)[i], np.ones(7)) for i in range(4)]
    columns = [np.kron(np.ones(4), np.eye(7)[j]) for j in range(7)]
    exact = linprog(cost.ravel(), A_eq=[*rows, *columns], b_eq=[*[0.25] * 4, *share], bounds=(0, None)).fun
    alpha, beta = sinkhorn(torch.tensor(cost), torch.tensor(share), entropy=0.5, iterations=5000)
    assert float(alpha.mean() + (beta * torch.tensor(share)).sum()) == pytest.approx(exact, rel=0.02)


def test_transport_pulls_mass_to_the_heads() -> None:
    """With the count right, only the transport says where the mass should be: it goes there."""
    target = Target([torch.tensor([[4.0, 4.0]])], torch.tensor([(24, 24)]), 8)
    logits = torch.zeros(1, 3, 3, requires_grad=True)
    for _ in range(300):
        density = logits.flatten().softmax(0).view(1, 3, 3)
        (gradient,) = torch.autograd.grad(DMCount(variation=0.0)(density, target), logits)
        logits = (logits - 0.05 * gradient).detach().requires_grad_()
    assert float(density[0, 0, 0].detach()) > 0.9


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("counts", [(6, 3, 0), (0, 0, 0)])
def test_every_loss_falls_from_any_start(name: str, counts: tuple[int, ...]) -> None:
    """Gradients are finite and lead down, with and without heads, also from nearly empty maps."""
    loss: Loss = LOSSES[name]()
    target = make_target(counts=counts)
    for start in (-12.0, 0.0):
        raw = torch.full((3, 4, 5), start, requires_grad=True)
        optimizer, values = torch.optim.Adam([raw], lr=0.3), []
        for _ in range(60):
            optimizer.zero_grad()
            value = loss(given_to(loss, torch.nn.functional.softplus(raw) * (make_density() > 0)), target)
            value.backward()
            assert raw.grad.isfinite().all()
            optimizer.step()
            values.append(float(value.detach()))
        assert values[-1] < 0.7 * values[0] or values[-1] < 0.01


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_is_the_mean_of_its_images(name: str) -> None:
    loss, target, density = LOSSES[name](), make_target(counts=(6, 3, 2)), make_density()
    alone = [
        float(loss(given_to(loss, density[i : i + 1, : -(-h // 8), : -(-w // 8)]), one_of(target, i)))
        for i, (h, w) in enumerate(SIZES)
    ]
    weights = [len(cells_of(i)) for i in range(3)] if name == "mse" else [1, 1, 1]  # its mean is over cells
    assert float(loss(given_to(loss, density), target)) == pytest.approx(np.average(alone, weights=weights), rel=1e-3)


def given_to(loss: Loss, density: Tensor) -> Tensor | ZeroInflated:
    """What a loss takes for an expected density."""
    return ZeroInflated(2 * density, torch.zeros_like(density)) if loss.zero_inflated else density


def one_of(target: Target, index: int) -> Target:
    return Target([target.points[index]], target.sizes[index : index + 1], target.stride, [target.sigmas[index]])


def test_impossible_options() -> None:
    with pytest.raises(EANError, match="dm_count needs entropy > 0"):
        DMCount(entropy=0.0)
