"""Eq. 5 and Eq. 8 of the paper, against other ways of writing them down."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from ean_core.search.policy_objectives import policy_objective, replay_objective

GAINS = torch.tensor([2.7, -1.3, 0.4], dtype=torch.float64)
Draw = tuple[Tensor, Tensor, Tensor]


@pytest.fixture
def draw() -> Draw:
    """p now (12,), p when the schemes were drawn (12,), and three schemes (3, 12)."""
    generator = torch.Generator().manual_seed(3)
    p, p_old = (0.05 + 0.9 * torch.rand(12, generator=generator, dtype=torch.float64) for _ in range(2))
    return p, p_old, (torch.rand(3, 12, generator=generator) < 0.5).double()


def p_hat(p: Tensor, bits: Tensor) -> Tensor:
    """The paper's a_i p_i + (1 - a_i)(1 - p_i)."""
    return bits * p + (1 - bits) * (1 - p)


def gradient(objective: Callable[[Tensor], Tensor], p: Tensor) -> Tensor:
    """Gradient of an objective with respect to the probabilities p, (m,)."""
    p = p.clone().requires_grad_()
    objective(p).backward()
    return p.grad


def eq5(bits: Tensor, gains: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda p: policy_objective(Bernoulli(p), bits, gains)


def eq8(p_old: Tensor, bits: Tensor, gains: Tensor, clip: float | None = None) -> Callable[[Tensor], Tensor]:
    return lambda p: replay_objective(Bernoulli(p), p_hat(p_old, bits).log(), bits, gains, clip=clip)


def test_eq5_is_the_written_out_objective(draw):
    p, _, bits = draw
    written_out = (GAINS[:, None] * (bits - p) / (p * (1 - p))).mean(dim=0)
    torch.testing.assert_close(gradient(eq5(bits, GAINS), p), written_out)
    torch.testing.assert_close(eq5(bits, GAINS)(p), (GAINS * p_hat(p, bits).log().sum(dim=1)).mean())


def test_eq8_is_the_written_out_objective(draw):
    p, p_old, bits = draw
    written_out = (GAINS[:, None] * (2 * bits - 1) / p_hat(p_old, bits)).mean(dim=0)
    torch.testing.assert_close(gradient(eq8(p_old, bits, GAINS), p), written_out)


@pytest.mark.parametrize("sign", [1, -1], ids=["good", "bad"])
def test_the_clipped_form_is_the_lower_of_two(draw, sign):
    """A good scheme's step is the larger without clipping, a bad one's with, and either can be the lower objective."""
    p, p_old, bits = draw
    ratio, taken = p_hat(p, bits) / p_hat(p_old, bits), set()
    for row, old in itertools.product(range(3), (p_old, 1 - p_old)):
        scheme, gain = bits[row : row + 1], sign * GAINS[:1]
        ratio = p_hat(p, scheme) / p_hat(old, scheme)
        assert ((ratio < 0.9) | (ratio > 1.1)).any()
        values = [float(gain * (r * p_hat(p, scheme).log()).sum()) for r in (ratio, ratio.clamp(0.9, 1.1))]
        lower = ratio if values[0] < values[1] else ratio.clamp(0.9, 1.1)
        taken.add(values[0] < values[1])
        ours = gradient(eq8(old, scheme, gain, clip=0.1), p)
        torch.testing.assert_close(ours, (gain * lower * (scheme - p) / (p * (1 - p)))[0])
    assert taken == {True, False}


def test_with_the_old_policy_unchanged_eq8_is_eq5(draw):
    p, _, bits = draw
    torch.testing.assert_close(gradient(eq8(p, bits, GAINS), p), gradient(eq5(bits, GAINS), p))


@pytest.mark.parametrize("replayed", [False, True], ids=["eq5", "eq8"])
def test_a_baseline_leaves_the_expected_gradient_as_it_is(replayed):
    generator = torch.Generator().manual_seed(0)
    p, p_old = (0.1 + 0.8 * torch.rand(4, generator=generator, dtype=torch.float64) for _ in range(2))
    schemes = torch.tensor(list(itertools.product((0, 1), repeat=4)), dtype=torch.float64)
    gains = torch.randn(len(schemes), generator=generator, dtype=torch.float64)
    chances = p_hat(p_old if replayed else p, schemes).prod(dim=1)

    def expected(baseline: float) -> Tensor:
        total = torch.zeros(4, dtype=torch.float64)
        for bits, gain, chance in zip(schemes[:, None], gains[:, None] - baseline, chances, strict=True):
            total += chance * gradient(eq8(p_old, bits, gain) if replayed else eq5(bits, gain), p)
        return total

    torch.testing.assert_close(expected(0.0), expected(75.0))
    assert expected(0.0).abs().max() > 0.1


def test_eq5_is_on_average_the_gradient_of_the_expected_reward():
    p = torch.tensor([0.2, 0.6, 0.9], dtype=torch.float64)
    schemes = torch.tensor(list(itertools.product((0, 1), repeat=3)), dtype=torch.float64)
    gains = schemes @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 3 * schemes[:, 0] * schemes[:, 1]

    def expected_reward(q: Tensor) -> Tensor:
        return (p_hat(q, schemes).prod(dim=1) * gains).sum()

    chances = p_hat(p, schemes).prod(dim=1)
    ours = sum(
        chance * gradient(eq5(bits, gain), p)
        for bits, gain, chance in zip(schemes[:, None], gains[:, None], chances, strict=True)
    )
    torch.testing.assert_close(ours, gradient(expected_reward, p))


@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_bit_that_became_impossible_gives_no_nan(clip):
    logits = torch.tensor([200.0, -200.0, 0.0], requires_grad=True)  # p is 1 and 0 in float32
    old = torch.full((1, 3), 0.5).log()
    gains = torch.ones(1)
    replay_objective(Bernoulli(logits=logits), old, torch.tensor([[0.0, 1.0, 1.0]]), gains, clip=clip).backward()
    assert torch.isfinite(logits.grad).all()
