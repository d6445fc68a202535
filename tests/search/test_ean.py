"""Algorithm 1: the controller, curiosity, baseline and replay, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ean_core.scheme import Scheme
from ean_core.search import History, Reward, Trial, build_method, run_search
from ean_core.search.curiosity import Curiosity
from ean_core.search.ean import EAN, EANSettings
from ean_core.search.landscapes import make_landscape
from ean_core.search.policy import policy_objective
from ean_core.utils.errors import EANError

BLOCKS = (3, 3, 3)


def trials_for(method: EAN, accuracy: float = 70.0) -> list[Trial]:
    return [Trial(one, accuracy, Reward().terms(one, accuracy)) for one in method.propose()]


def settled(**settings) -> EAN:
    return EAN(BLOCKS, seed=1, settings=EANSettings(**settings))


def test_curiosity_falls_for_schemes_seen_and_stays_for_others():
    rng = np.random.default_rng(0)
    schemes = list({one.text: one for one in (Scheme.random((10, 10), rng) for _ in range(40))}.values())
    seen, unseen = schemes[:8], schemes[8:]
    curiosity = Curiosity(20, generator=torch.Generator().manual_seed(0), learning_rate=1e-2)
    before = np.mean([curiosity.bonus(one) for one in seen])
    for _ in range(150):
        curiosity.update(seen)
    after, other = (np.mean([curiosity.bonus(one) for one in group]) for group in (seen, unseen))
    assert after < 0.05 * before
    assert other > 5 * after


def test_the_curiosity_target_never_moves():
    curiosity = Curiosity(6, generator=torch.Generator().manual_seed(0))
    before = [weight.clone() for weight in curiosity.target.parameters()]
    curiosity.update([Scheme.all_on((6,))])
    assert all(torch.equal(a, b) for a, b in zip(before, curiosity.target.parameters(), strict=True))


def test_one_step_is_eta_times_the_gradient_of_eq5():
    method = settled(replay="off", baseline_decay=None, curiosity_weight=0.0)
    method.optimizer = torch.optim.SGD(method.controller.parameters(), lr=0.01)
    trials = trials_for(method)
    bits = torch.tensor(trials[0].scheme.bits, dtype=torch.float32)
    objective = policy_objective(method.policy(), bits, trials[0].reward)
    gradients = torch.autograd.grad(objective, list(method.controller.parameters()), allow_unused=True)
    before = [weight.clone() for weight in method.controller.parameters()]
    method.update(trials)
    for old, new, gradient in zip(before, method.controller.parameters(), gradients, strict=True):
        torch.testing.assert_close(new - old, 0.01 * gradient)


def test_a_good_scheme_becomes_more_probable_and_a_bad_one_less():
    for accuracy, sign in ((90.0, 1), (50.0, -1)):
        method = settled(replay="off", curiosity_weight=0.0)
        method.update(trials_for(method))  # sets the baseline
        trials = trials_for(method, accuracy)
        bits = np.array(trials[0].scheme.bits)
        before = method.probabilities()
        method.update(trials)
        change = (2 * bits - 1) * (method.probabilities() - before)
        assert sign * change.mean() > 0


def test_replay_starts_at_step_h_and_keeps_its_size(monkeypatch):
    method, steps = settled(replay_from=4, replay_size=3), []
    replay = EAN._replay
    monkeypatch.setattr(EAN, "_replay", lambda self: (steps.append(self.step), replay(self)))
    for _ in range(8):
        method.update(trials_for(method))
    assert steps == [4, 5, 6, 7, 8]
    assert len(method.buffer) == 3


def test_replay_can_be_switched_off(monkeypatch):
    method = settled(replay="off", replay_from=1)
    monkeypatch.setattr(EAN, "_replay", lambda self: pytest.fail("replayed"))
    method.update(trials_for(method))


def test_the_stored_reward_has_no_curiosity_term():
    method = settled(curiosity_weight=100.0)
    trials = trials_for(method)
    assert method.bonus(trials[0].scheme)["curiosity"] > 1
    method.update(trials)
    assert method.buffer[-1][0].reward == trials[0].reward
    assert method.replay_baseline == pytest.approx(trials[0].reward)
    assert method.baseline > trials[0].reward + 1


def test_without_a_baseline_the_equations_are_bare():
    method = settled(baseline_decay=None)
    for _ in range(12):
        method.update(trials_for(method))
    assert method.baseline == 0.0
    assert method.replay_baseline == 0.0


def test_a_policy_that_has_settled_stays_a_policy():
    """A saturated p with replay of what it excludes once filled the controller with NaN, and the answer with zeros."""
    method = EAN((2,), seed=0, settings=EANSettings(learning_rate=2.0, temperature=1.0, replay_from=1))
    for _ in range(300):
        schemes = method.propose()
        method.update([Trial(one, 10.0 * one.bits[0], {"accuracy": 10.0 * one.bits[0]}) for one in schemes])
    assert np.isfinite(method.probabilities()).all()


@pytest.mark.parametrize("bad", [{"replay": "maybe"}, {"schemes_per_step": 0}])
def test_settings_are_checked(bad):
    with pytest.raises(EANError):
        EANSettings(**bad)


@pytest.mark.parametrize(
    "options", [{}, {"preset": "released"}, {"preset": "natural"}], ids=["paper", "released", "natural"]
)
def test_it_finds_better_schemes_than_random_search(options):
    """54 blocks with pair interactions, 10 landscapes: the same number of proposals, the true reward of the answer."""
    reward, proposals = Reward(), 240

    def answer(name: str, options: dict, seed: int) -> float:
        landscape = make_landscape("pairs", (18, 18, 18), seed=seed)
        method = build_method(name, landscape.blocks, seed=seed, reward=reward, options=options)
        steps = proposals // len(method.propose())
        method = build_method(name, landscape.blocks, seed=seed, reward=reward, options=options)
        found = run_search(method, landscape.evaluate, steps=steps, reward=reward, history=History(None))
        return landscape.reward(found.best.scheme, reward)

    gains = [answer("ean", options, seed) - answer("random", {}, seed) for seed in range(10)]
    assert np.mean(gains) > 0.5
    assert np.mean(gains) > 3 * np.std(gains, ddof=1) / np.sqrt(len(gains))
