"""The preset "natural": its direction, its memory, and its answers on landscapes with a known best scheme."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ean_core.scheme import Scheme
from ean_core.search import History, Reward, Trial, build_method, run_search
from ean_core.search.natural_gradient import NaturalEAN, NaturalSettings, fitted_effects, sampled_effects, standardize
from ean_core.search.reward_landscapes import make_landscape

PLAIN = NaturalSettings(curiosity_weight=0.0)


def cube(m: int) -> np.ndarray:
    return np.array(list(itertools.product((0, 1), repeat=m)), dtype=float)


def test_the_sampled_direction_is_on_average_the_natural_gradient():
    """(1 / (p (1 - p))) d E[G] / d theta, by enumeration and finite differences."""
    bits = cube(4)
    gains = bits @ np.array([1.0, -0.5, 0.2, 0.0]) + 2 * bits[:, 0] * bits[:, 3]
    theta = np.array([0.3, -1.0, 0.0, 0.8])

    def expected(theta: np.ndarray) -> float:
        p = 1 / (1 + np.exp(-theta))
        return float(np.prod(np.where(bits > 0, p, 1 - p), axis=1) @ gains)

    p = 1 / (1 + np.exp(-theta))
    slope = np.array([(expected(theta + 1e-6 * e) - expected(theta - 1e-6 * e)) / 2e-6 for e in np.eye(4)])
    weights = np.prod(np.where(bits > 0, p, 1 - p), axis=1)
    ours = sum(
        w * sampled_effects(row[None], gain, p) for w, row, gain in zip(weights, bits, gains[:, None], strict=True)
    )
    np.testing.assert_allclose(ours, slope / (p * (1 - p)), rtol=1e-5)


def test_the_fit_gives_the_effects_of_an_additive_reward():
    rng = np.random.default_rng(0)
    effects, bits = rng.normal(size=9), (rng.random((40, 9)) < 0.3).astype(float)
    np.testing.assert_allclose(fitted_effects(bits, 5 + bits @ effects, 1e-9), effects, atol=1e-6)


def test_both_directions_agree_on_all_schemes():
    bits, rng = cube(6), np.random.default_rng(1)
    gains = standardize(bits @ rng.normal(size=6) + rng.normal(size=64))
    np.testing.assert_allclose(
        fitted_effects(bits, gains, 1e-9), sampled_effects(bits, gains, np.full(6, 0.5)), atol=1e-6
    )


def test_equal_rewards_move_nothing():
    assert (standardize(np.full(5, 71.3)) == 0).all()
    method = NaturalEAN((3, 3), settings=PLAIN)
    method.update([Trial(Scheme((1, 0) * 3, (3, 3)), 70.0, {"accuracy": 70.0})])
    assert (method.probabilities() == 0.5).all()


def test_a_step_does_not_depend_on_unit_and_offset():
    def after(scale: float, offset: float) -> np.ndarray:
        method = NaturalEAN((3, 3), seed=0, settings=PLAIN)
        schemes = method.propose()
        rewards = [scale * sum(scheme.bits) + offset for scheme in schemes]
        method.update([Trial(s, 0.0, {"accuracy": r}) for s, r in zip(schemes, rewards, strict=True)])
        return method.probabilities()

    np.testing.assert_allclose(after(1.0, 0.0), after(50.0, -3.0))


def test_a_scheme_counts_once_however_often_it_is_told():
    schemes = [Scheme(tuple(row.astype(int).tolist()), (3,)) for row in cube(3)[:6]]
    trials = [Trial(s, 0.0, {"accuracy": float(s.bits[0] - s.bits[2])}) for s in schemes]
    once, often = (NaturalEAN((3,), settings=PLAIN) for _ in range(2))
    once.update(trials)
    often.update(trials + 7 * trials[:1])
    np.testing.assert_allclose(once.probabilities(), often.probabilities())


def test_probabilities_stay_inside_their_bounds():
    method = NaturalEAN((9,), seed=0, settings=PLAIN)
    for _ in range(100):
        schemes = method.propose()
        method.update([Trial(s, 0.0, {"accuracy": float(sum(s.bits))}) for s in schemes])
    np.testing.assert_allclose(method.probabilities(), 1 - 1 / 9)


def test_known_schemes_are_drawn_again():
    method = NaturalEAN((4,), seed=0, settings=NaturalSettings(redraws=500, curiosity_weight=0.0))
    seen: list[str] = []
    for _ in range(3):
        schemes = method.propose()
        seen += [scheme.text for scheme in schemes]
        method.update([Trial(s, 0.0, {"accuracy": float(sum(s.bits))}) for s in schemes])
    assert len(seen) == len(set(seen)) == 15


@pytest.mark.parametrize(
    ("kind", "blocks", "evaluations", "allowed"),
    [("additive", (18, 18, 18), 400, 0.25), ("sparse", (18, 18, 18), 400, 0.8), ("noise", (3, 3, 3), 100, 0.15)],
)
def test_its_answer_is_near_the_best(kind, blocks, evaluations, allowed):
    """The most probable scheme's true reward, on average over 10 landscapes."""
    reward, regrets = Reward(), []
    for seed in range(10):
        landscape = make_landscape(kind, blocks, seed=seed)
        method = build_method("ean", blocks, seed=seed, reward=reward, options={"preset": "natural"})
        outcome = run_search(
            method,
            landscape.evaluate,
            steps=evaluations,
            reward=reward,
            history=History(None),
            max_evaluations=evaluations,
        )
        best = landscape.reward(landscape.best(reward), reward)
        regrets.append(best - landscape.reward(outcome.most_probable.scheme, reward))
    assert min(regrets) >= -1e-9
    assert np.mean(regrets) < allowed
