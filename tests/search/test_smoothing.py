"""Smoothed rewards: a slow reference, nothing taken where nothing is noise, and answers nearer to the best scheme."""

from __future__ import annotations

import numpy as np
import pytest

from ean_core.search import Reward, build_method, smoothing
from ean_core.search.latency_limit import Limit
from ean_core.search.latency_limited_method import Limited
from ean_core.search.reward_landscapes import make_landscape, measure_regret
from ean_core.search.smoothing import best_smoothed, smooth

REWARD = Reward()


def different(count: int, m: int, *, seed: int) -> np.ndarray:
    """Different rows of bits (count, m)."""
    rng = np.random.default_rng(seed)
    return np.unique((rng.random((4 * count, m)) < 0.5).astype(int), axis=0)[:count]


def slowly(bits: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """The same by inverse matrices, one pair of rho and noise after the other."""
    n, one, best = len(rewards), np.ones(len(rewards)), (-np.inf, rewards)
    distances = np.array([[np.sum(a != b) for b in bits] for a in bits])
    for rho in smoothing.CORRELATIONS:
        for noise in smoothing.NOISES:
            kernel = rho**distances
            inverse = np.linalg.inv(kernel + noise * np.eye(n))
            mean = (one @ inverse @ rewards) / (one @ inverse @ one)
            rest = rewards - mean
            scale = rest @ inverse @ rest / (n - 1)
            determinant = -np.linalg.slogdet(inverse)[1]
            likelihood = -((n - 1) * np.log(scale) + determinant + np.log(one @ inverse @ one))
            if likelihood > best[0]:
                best = (likelihood, mean + kernel @ inverse @ rest)
    return best[1]


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_it_is_the_posterior_mean_where_the_rewards_are_likeliest(noise: float) -> None:
    bits, rng = different(25, 7, seed=0), np.random.default_rng(1)
    rewards = 70 + bits @ rng.normal(0, 0.35, 7) + noise * rng.standard_normal(25)
    np.testing.assert_allclose(smooth(bits, rewards), slowly(bits, rewards), atol=1e-6)


def test_without_noise_the_rewards_stay_and_with_noise_they_come_nearer_to_the_truth() -> None:
    bits, rng = different(120, 12, seed=2), np.random.default_rng(3)
    truth = 70 + bits @ rng.normal(0, 0.35, 12) + 0.3 * bits[:, 0] * bits[:, 5]
    np.testing.assert_allclose(smooth(bits, truth), truth, atol=0.03)
    noisy = truth + 0.3 * rng.standard_normal(120)
    assert np.std(smooth(bits, noisy) - truth) < 0.5 * np.std(noisy - truth)


def test_unit_and_offset_change_nothing() -> None:
    bits, rng = different(40, 8, seed=4), np.random.default_rng(5)
    rewards = rng.standard_normal(40)
    np.testing.assert_allclose(smooth(bits, 7 * rewards - 3), 7 * smooth(bits, rewards) - 3, atol=1e-6)


def test_few_equal_and_many_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert best_smoothed(["01", "10"], [1.0, 2.0]) == (1, 2.0)
    assert best_smoothed(["110", "100", "011", "111"], [5.0] * 4) == (1, 5.0)  # the fewest connections
    texts = ["".join(map(str, row)) for row in different(30, 6, seed=6)]
    monkeypatch.setattr(smoothing, "MAX_SCHEMES", 10)
    assert best_smoothed(texts, [100.0, *map(float, range(29))])[0] >= 20  # the latest


def test_natural_answers_with_it_and_a_limit_changes_no_answer() -> None:
    natural = build_method("ean", (3, 3), seed=0, reward=REWARD, options={"preset": "natural"})
    assert natural.answer == "smoothed"
    assert Limited(natural, Limit([1.0] * 6, 3.0)).answer == "smoothed"
    for name, options in (("ean", {}), ("ean", {"preset": "released"}), ("random", {})):
        assert build_method(name, (3, 3), seed=0, reward=REWARD, options=options).answer == "best"


@pytest.mark.parametrize(("kind", "allowed"), [("pairs", 0.01), ("noise", 0.1), ("rugged", 0.12)])
def test_naturals_answer_is_near_the_best_with_and_without_noise(kind: str, allowed: float) -> None:
    runs = [
        measure_regret(
            lambda seed=seed: build_method("ean", (3, 3, 3), seed=seed, reward=REWARD, options={"preset": "natural"}),
            make_landscape(kind, (3, 3, 3), seed=seed),
            REWARD,
            checkpoints=[100],
        )
        for seed in range(8)
    ]
    smoothed, best = (np.mean([getattr(run, name) for run in runs]) for name in ("smoothed", "best"))
    assert smoothed < allowed
    assert kind == "pairs" or smoothed < 0.5 * best
