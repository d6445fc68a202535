"""Algorithm 1: the controller, curiosity, baseline and replay, and what it finds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ean_core.scheme import Scheme
from ean_core.search import History, Reward, Trial, build_method, run_search
from ean_core.search.curiosity import Curiosity
from ean_core.search.ean import EAN, PRESETS, EANSettings
from ean_core.search.policy_objectives import policy_objective
from ean_core.search.reward_landscapes import make_landscape
from ean_core.utils.errors import EANError

BLOCKS = (3, 3, 3)


def trials_for(method: EAN, accuracy: float = 70.0) -> list[Trial]:
    return [Trial(scheme, accuracy, Reward().terms(scheme, accuracy)) for scheme in method.propose()]


def settled(**settings) -> EAN:
    return EAN(BLOCKS, seed=1, settings=EANSettings(**settings))


def test_curiosity_falls_for_schemes_seen_and_stays_for_others():
    rng = np.random.default_rng(0)
    schemes = list({scheme.text: scheme for scheme in (Scheme.random((10, 10), rng) for _ in range(40))}.values())
    seen, unseen = schemes[:8], schemes[8:]
    curiosity = Curiosity(20, generator=torch.Generator().manual_seed(0), learning_rate=1e-2)
    before = np.mean([curiosity.bonus(scheme) for scheme in seen])
    for _ in range(150):
        curiosity.update(seen)
    after, other = (np.mean([curiosity.bonus(scheme) for scheme in group]) for group in (seen, unseen))
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
    bits, gains = torch.tensor([trials[0].scheme.bits], dtype=torch.float32), torch.tensor([trials[0].reward])
    objective = policy_objective(method.policy(), bits, gains)
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
    assert method.buffer[-1].rewards.tolist() == pytest.approx([trials[0].reward])
    assert method.replay_baseline == pytest.approx(trials[0].reward)
    assert method.baseline > trials[0].reward + 1


def test_without_a_baseline_the_equations_are_bare():
    method = settled(baseline_decay=None)
    for _ in range(12):
        method.update(trials_for(method))
    assert method.baseline == 0.0
    assert method.replay_baseline == 0.0


def test_the_entropy_bonus_leads_back_to_an_undecided_policy():
    """Where all schemes score alike nothing else moves the policy."""

    def entropy_after(steps: int, weight: float) -> float:
        method = settled(replay="off", curiosity_weight=0.0, entropy_weight=weight)
        for _ in range(steps):
            method.update([Trial(scheme, 70.0, {"accuracy": 70.0}) for scheme in method.propose()])
        return float(method.policy().entropy().sum().detach())

    assert entropy_after(30, 0.0) == entropy_after(0, 0.0)
    assert entropy_after(0, 0.0) < entropy_after(30, 1.0) <= len(BLOCKS) * 3 * np.log(2) + 1e-6


def accuracy_of(bits: np.ndarray) -> float:
    """A made-up accuracy in percent: single blocks, a pair, and noise that belongs to the scheme."""
    effects = np.linspace(-0.6, 0.8, len(bits))
    noise = np.random.default_rng(int("".join(map(str, bits)), 2)).normal(0, 0.3)
    return float(60 + effects @ bits + 0.5 * bits[0] * bits[-1] + noise)


def released_update(method: EAN, *, steps: int) -> torch.nn.Module:
    """The released code's search written down plainly, from the method's first weights on; gives its controller.

    Its bugs aside (the bits that are stored in another order), every line is theirs: three schemes a step, the bonus
    summed, the baseline first, the lower of two sums in the replay, from the step with index 10 on.
    """
    rng, m = method.generator(), sum(method.blocks)
    controller, fixed, learned = (
        copy.deepcopy(module) for module in (method.controller, method.curiosity.target, method.curiosity.predictor)
    )
    optimizer = torch.optim.Adam(controller.parameters(), lr=5e-2)
    learned_optimizer = torch.optim.Adam(learned.parameters(), lr=5e-2)
    baseline, memory = None, []
    for step in range(steps):
        log_p = (controller(torch.zeros(20, dtype=torch.float64)) / 5).view(m, 2).log_softmax(dim=1)
        drawn = (rng.random((3, m)) < log_p[:, 1].exp().detach().numpy()).astype(int)
        actions = torch.from_numpy(drawn)
        log_probs = torch.stack([log_p[torch.arange(m), row] for row in actions])  # (3, m)
        rewards = actions.double().new_tensor([accuracy_of(row) + 2 * float((row == 0).mean()) for row in drawn])
        memory = [*memory, (actions, rewards, log_probs.exp().detach())][-30:]
        error = ((fixed(actions.double()) - learned(actions.double())) ** 2).sum()
        total = rewards + error.detach()
        baseline = total.mean() if baseline is None else 0.95 * baseline + 0.05 * total.mean()
        loss = -(log_probs * (total - baseline)[:, None]).mean(dim=0).sum()
        optimizer.zero_grad()
        learned_optimizer.zero_grad()
        (loss + error).backward()
        learned_optimizer.step()
        optimizer.step()
        if step >= 10:
            actions, rewards, old = memory[int(rng.integers(len(memory)))]
            log_p = (controller(torch.zeros(20, dtype=torch.float64)) / 5).view(m, 2).log_softmax(dim=1)
            log_probs = torch.stack([log_p[torch.arange(m), row] for row in actions])
            ratio, advantage = log_probs.exp().detach() / old, (rewards - baseline)[:, None]
            unclipped = (ratio * log_probs * advantage).sum() / 3
            clipped = (ratio.clamp(0.9, 1.1) * log_probs * advantage).sum() / 3
            optimizer.zero_grad()
            (-0.1 * torch.min(unclipped, clipped)).backward()
            optimizer.step()
    return controller


def test_the_preset_released_is_the_released_update():
    method = EAN((3, 4, 6, 3), seed=7, settings=PRESETS["released"])
    for module in (method.controller, method.curiosity.target, method.curiosity.predictor):
        module.double()
    method.x0 = method.x0.double()
    plain = released_update(method, steps=300)
    for _ in range(300):
        schemes = method.propose()
        terms = [Reward().terms(scheme, accuracy_of(np.array(scheme.bits))) for scheme in schemes]
        method.update([Trial(one, 0.0, term) for one, term in zip(schemes, terms, strict=True)])
    for ours, theirs in zip(method.controller.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert np.maximum(method.probabilities(), 1 - method.probabilities()).mean() > 0.6  # it has learned something


def test_a_policy_that_has_settled_stays_a_policy():
    """A saturated p with replay of what it excludes once filled the controller with NaN, and the answer with zeros."""
    method = EAN((2,), seed=0, settings=EANSettings(learning_rate=2.0, temperature=1.0, replay_from=1))
    for _ in range(300):
        schemes = method.propose()
        method.update([Trial(scheme, 10.0 * scheme.bits[0], {"accuracy": 10.0 * scheme.bits[0]}) for scheme in schemes])
    assert np.isfinite(method.probabilities()).all()


@pytest.mark.parametrize("bad", [{"replay": "maybe"}, {"schemes_per_step": 0}])
def test_settings_are_checked(bad):
    with pytest.raises(EANError):
        EANSettings(**bad)


@pytest.mark.parametrize(
    ("options", "proposals"),
    [({}, 240), ({"preset": "released"}, 450), ({"preset": "natural"}, 240)],  # the released update settles later
    ids=["paper", "released", "natural"],
)
def test_it_finds_better_schemes_than_random_search(options, proposals):
    """54 blocks with pair interactions, 7 landscapes: the same number of proposals, the true reward of the answer."""
    reward = Reward()

    def answer(name: str, options: dict, seed: int) -> float:
        landscape = make_landscape("pairs", (18, 18, 18), seed=seed)
        method = build_method(name, landscape.blocks, seed=seed, reward=reward, options=options)
        steps = proposals // len(method.propose())
        method = build_method(name, landscape.blocks, seed=seed, reward=reward, options=options)
        outcome = run_search(method, landscape.evaluate, steps=steps, reward=reward, history=History(None))
        return landscape.reward(outcome.best.scheme, reward)

    gains = [answer("ean", options, seed) - answer("random", {}, seed) for seed in range(7)]
    assert np.mean(gains) > 0.5
    assert np.mean(gains) > 3 * np.std(gains, ddof=1) / np.sqrt(len(gains))
