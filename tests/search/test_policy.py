"""Eq. 5 and Eq. 8 of the paper, against other ways of writing them down."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.distributions import Bernoulli

from ean_core.search.policy import policy_objective, probability_of, replay_objective

GAIN = 2.7


@pytest.fixture
def draw() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """p now, p when the scheme was drawn, and the scheme, each (12,)."""
    generator = torch.Generator().manual_seed(3)
    p, p_old = (0.05 + 0.9 * torch.rand(12, generator=generator, dtype=torch.float64) for _ in range(2))
    return p, p_old, (torch.rand(12, generator=generator) < 0.5).double()


def gradient(objective, p: torch.Tensor) -> torch.Tensor:
    p = p.clone().requires_grad_()
    objective(p).backward()
    return p.grad


def differences(objective, p: torch.Tensor, step: float = 1e-6) -> torch.Tensor:
    unit = torch.eye(len(p), dtype=p.dtype) * step
    return torch.stack([(objective(p + row) - objective(p - row)) / (2 * step) for row in unit])


def test_eq5_is_the_written_out_objective(draw):
    p, _, bits = draw
    ours = gradient(lambda q: policy_objective(q, bits, GAIN), p)
    torch.testing.assert_close(ours, gradient(lambda q: GAIN * Bernoulli(q).log_prob(bits).sum(), p))
    torch.testing.assert_close(ours, GAIN * (bits - p) / (p * (1 - p)))
    torch.testing.assert_close(ours, differences(lambda q: policy_objective(q, bits, GAIN), p), rtol=1e-5, atol=1e-5)


def test_eq8_is_the_written_out_objective(draw):
    p, p_old, bits = draw
    ratio = torch.exp(Bernoulli(p).log_prob(bits) - Bernoulli(p_old).log_prob(bits))
    ours = gradient(lambda q: replay_objective(q, p_old, bits, GAIN), p)
    torch.testing.assert_close(ours, gradient(lambda q: GAIN * (ratio * Bernoulli(q).log_prob(bits)).sum(), p))
    torch.testing.assert_close(ours, GAIN * (2 * bits - 1) / torch.where(bits > 0, p_old, 1 - p_old))
    held = differences(lambda q: GAIN * (ratio * probability_of(q, bits).log()).sum(), p)
    torch.testing.assert_close(ours, held, rtol=1e-5, atol=1e-5)


def test_the_clipped_form_holds_the_ratio_within_its_bounds(draw):
    p, p_old, bits = draw
    ratio = torch.exp(Bernoulli(p).log_prob(bits) - Bernoulli(p_old).log_prob(bits)).clamp(0.9, 1.1)
    assert ((ratio == 0.9) | (ratio == 1.1)).any()
    ours = gradient(lambda q: replay_objective(q, p_old, bits, GAIN, clip=0.1), p)
    torch.testing.assert_close(ours, GAIN * ratio * (bits - p) / (p * (1 - p)))


def test_with_the_old_policy_unchanged_eq8_is_eq5(draw):
    p, _, bits = draw
    torch.testing.assert_close(
        gradient(lambda q: replay_objective(q, p, bits, GAIN), p),
        gradient(lambda q: policy_objective(q, bits, GAIN), p),
    )


@pytest.mark.parametrize("replayed", [False, True], ids=["eq5", "eq8"])
def test_a_baseline_leaves_the_expected_gradient_as_it_is(replayed):
    generator = torch.Generator().manual_seed(0)
    p, p_old = (0.1 + 0.8 * torch.rand(4, generator=generator, dtype=torch.float64) for _ in range(2))
    schemes = [torch.tensor(bits, dtype=torch.float64) for bits in itertools.product((0, 1), repeat=4)]
    gains = torch.randn(len(schemes), generator=generator, dtype=torch.float64)
    drawn_from = p_old if replayed else p

    def expected(baseline: float) -> torch.Tensor:
        total = torch.zeros(4, dtype=torch.float64)
        for bits, gain in zip(schemes, gains, strict=True):
            weight, advantage = probability_of(drawn_from, bits).prod(), float(gain) - baseline
            if replayed:
                total += weight * gradient(lambda q, a=bits, g=advantage: replay_objective(q, p_old, a, g), p)
            else:
                total += weight * gradient(lambda q, a=bits, g=advantage: policy_objective(q, a, g), p)
        return total

    torch.testing.assert_close(expected(0.0), expected(75.0))
    assert expected(0.0).abs().max() > 0.1


def test_eq5_is_on_average_the_gradient_of_the_expected_reward():
    p = torch.tensor([0.2, 0.6, 0.9], dtype=torch.float64)
    schemes = [torch.tensor(bits, dtype=torch.float64) for bits in itertools.product((0, 1), repeat=3)]
    gains = [
        float(bits @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 3 * bits[0] * bits[1]) for bits in schemes
    ]

    def expected_reward(q: torch.Tensor) -> torch.Tensor:
        return sum(probability_of(q, bits).prod() * gain for bits, gain in zip(schemes, gains, strict=True))

    ours = sum(
        probability_of(p, bits).prod() * gradient(lambda q, a=bits, g=gain: policy_objective(q, a, g), p)
        for bits, gain in zip(schemes, gains, strict=True)
    )
    torch.testing.assert_close(ours, gradient(expected_reward, p))


@pytest.mark.parametrize("clip", [None, 0.1])
def test_a_bit_that_became_impossible_gives_no_nan(clip):
    p = torch.tensor([1.0, 0.0, 0.5])
    grad = gradient(
        lambda q: replay_objective(q, torch.full((3,), 0.5), torch.tensor([0.0, 1.0, 1.0]), 1.0, clip=clip), p
    )
    assert torch.isfinite(grad).all()
