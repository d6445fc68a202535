"""What a comparison keeps of a search, against slow and obvious references."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from ean_core.scheme import Scheme
from ean_core.search import METHODS, History, Reward, Trial, build_method, run_search
from ean_core.search.comparison import (
    Budget,
    distribution,
    mean_with_interval,
    run_entry,
    summarize_methods,
)
from ean_core.search.enas import ENAS
from ean_core.search.method_choice import MethodChoice, parse_methods
from ean_core.search.reward_landscapes import make_landscape
from ean_core.search.shared_scores import SharedScores, all_schemes
from ean_core.utils.errors import EANError
from tests.conftest import ROOT

BLOCKS = (2, 3)
LANDSCAPE = make_landscape("noise", BLOCKS, seed=0)


def test_methods_are_written_with_their_options() -> None:
    assert parse_methods(["ean,random", "ean:natural", "enas:hidden=32:learning_rate=0.1"]) == [
        MethodChoice("ean", "ean", {}),
        MethodChoice("random", "random", {}),
        MethodChoice("ean:natural", "ean", {"preset": "natural"}),
        MethodChoice("enas:hidden=32:learning_rate=0.1", "enas", {"hidden": 32, "learning_rate": 0.1}),
    ]
    assert parse_methods(["ga:population=4"]) == [MethodChoice("genetic:population=4", "genetic", {"population": 4})]
    for wrong in (["ean,ean"], ["ean", "random,ean"], [","], ["ean:"], ["ga,genetic"]):
        with pytest.raises(EANError):
            parse_methods(wrong)


def run(name: str, budget: Budget, scores: SharedScores, *, seed: int = 0, **options) -> dict:
    method = build_method(name, BLOCKS, seed=seed, reward=Reward(), options=options)
    cost = 0.5 if name == "darts" else 0.0
    return run_entry(method, scores, reward=Reward(), budget=budget, gradient_cost=cost)


@pytest.mark.parametrize("name", METHODS)
def test_a_search_ends_with_its_budget(name: str) -> None:
    """The same search by hand: proposals in order, different ones counted, the best so far at each count."""
    budget, scores = Budget(evaluations=9, proposals=17, samples=5), SharedScores(History(None), LANDSCAPE.evaluate)
    outcome = run(name, budget, scores)
    method = build_method(name, BLOCKS, seed=0, reward=Reward())
    seen, order, steps = {}, [], 0
    cost = 0.5 if name == "darts" else 0.0
    rewards = []
    while len(order) <= outcome["proposals"]:
        schemes = method.propose()
        steps += 1
        trials = []
        for scheme in schemes:
            accuracy = LANDSCAPE.evaluate([scheme])[0]
            seen.setdefault(scheme.text, accuracy)
            rewards.append((sum(Reward().terms(scheme, accuracy).values()), accuracy, scheme))
            order.append(len(seen) + cost * steps)
            trials.append(Trial(scheme, accuracy, Reward().terms(scheme, accuracy)))
        method.update(trials)
    end = outcome["proposals"]
    assert end <= 17
    assert order[end - 1] <= 9
    assert end == 17 or order[end] > 9  # the first that is not paid for
    for count, reward, accuracy in zip(*outcome["curve"].values(), strict=True):
        best = max((r for r, spent in zip(rewards, order, strict=True) if spent <= count), key=lambda one: one[0])
        assert (reward, accuracy) == (pytest.approx(best[0], abs=1e-4), best[1])
    assert outcome["curve"]["reward"] == sorted(outcome["curve"]["reward"])
    assert outcome["best"]["reward"] == pytest.approx(outcome["curve"]["reward"][-1], abs=1e-4)
    assert outcome["best"]["reward"] == pytest.approx(max(reward for reward, *_ in rewards[:end]), abs=1e-4)
    assert outcome["spent"] == pytest.approx(order[end - 1])
    assert outcome["evaluations"] == len({scheme.text for *_, scheme in rewards[:end]})
    assert (outcome["most_probable"] is None) == (method.probabilities() is None)
    stochastic = name in ("ean", "enas")
    assert (outcome["probability"] is not None) == stochastic
    assert len(outcome["sampled"]["accuracy"]) == (5 if stochastic else 0)


def test_the_readmes_table_4_has_the_papers_rows() -> None:
    """HSP's four patterns, each alone, beside every method of the table; all can be built for ResNet-164."""
    readme = (ROOT / "README.md").read_text()
    (given,) = re.findall(r"--evaluations 1000 --seeds 3 --retrain --methods (\S+)`", readme)
    entries = parse_methods([given])
    blocks = (18, 18, 18)
    built = {
        entry.label: build_method(entry.method, blocks, seed=0, reward=Reward(), options=entry.options)
        for entry in entries
    }
    assert {entry.method for entry in entries} >= {"ean", "genetic", "enas", "darts", "hsp"}
    patterns = [built[label].propose() for label in built if label.startswith("hsp")]
    assert [[scheme.text for scheme in family] for family in patterns] == [
        [(bits * 54)[:54]] for bits in ("10", "01", "100", "010")
    ]
    assert built["enas:settling"].settings.learning_rate == 5e-2


@pytest.mark.parametrize("name", ["random", "enas", "genetic"])
def test_no_scheme_but_the_answer_is_scored_past_the_budget(name: str, evaluate) -> None:
    outcome = run(name, Budget(evaluations=9, proposals=40), SharedScores(History(None), evaluate))
    assert outcome["evaluations"] == 9
    assert len(evaluate.asked) in (9, 10)


def test_each_seed_draws_its_own_schemes_at_the_end() -> None:
    """Else a test of the draws of all seeds together would count the same chance several times."""
    scores = SharedScores(History(None), LANDSCAPE.evaluate)
    draws = []
    for seed in (0, 0, 1):
        method = build_method("ean", BLOCKS, seed=seed, reward=Reward())
        budget = Budget(evaluations=1, proposals=1, samples=20)
        draws.append(run_entry(method, scores, reward=Reward(), budget=budget)["sampled"]["bits"])
    assert draws[0] == draws[1] != draws[2]


def test_known_scores_cost_nothing_but_count(evaluate) -> None:
    scores = SharedScores(History(None), evaluate)
    budget = Budget(evaluations=10, proposals=20)
    alone = [run(name, budget, SharedScores(History(None), type(evaluate)())) for name in ("random", "ean", "genetic")]
    together = [run(name, budget, scores) for name in ("random", "ean", "genetic")]
    for one, other in zip(alone, together, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert len(evaluate.asked) == len(set(evaluate.asked)) == len(scores.accuracies)
    assert sum(outcome["evaluations"] for outcome in together) > len(scores.accuracies)


def test_shared_scores_survive_a_kill(tmp_path, evaluate) -> None:
    path, schemes = tmp_path / "scores.jsonl", all_schemes((2, 2))
    first = SharedScores(History.open(path, resume=False), evaluate)(schemes[:11])
    text = path.read_text()
    path.write_text(text[:-7])  # the last line is cut
    again = SharedScores(History.open(path, resume=True), evaluate)
    assert len(again.accuracies) == 10
    values = again([*schemes, schemes[3]])
    assert values[:11] == first
    assert values[-1] == values[3]
    assert len(evaluate.asked) == 16 + 1
    assert len(path.read_text().splitlines()) == 16


def test_all_schemes_are_all_and_too_many_are_refused() -> None:
    assert {scheme.text for scheme in all_schemes((2, 3))} == {f"{n:05b}" for n in range(32)}
    with pytest.raises(EANError, match="2\\^54"):
        all_schemes((18, 18, 18))


def test_regret_and_intervals() -> None:
    def made(method: str, seed: int, reward: float) -> dict:
        best = {"reward": reward, "validation_accuracy": 50.0, "connections": 2, "bits": "10 | 100"}
        costs = dict.fromkeys(("evaluations", "spent", "proposals"), 1)
        return {"method": method, "seed": seed, "best": best, "most_probable": None, **costs}

    rows = summarize_methods([made("a", 0, 7.0), made("b", 0, 10.0), made("a", 1, 9.0)], highest=10.0)
    assert [row["method"] for row in rows] == ["a", "b"]
    assert rows[0]["best"]["regret"]["mean"] == 2.0
    assert (rows[0]["best"]["exact"], rows[1]["best"]["exact"]) == (0, 1)
    reward, regret = rows[0]["best"]["reward"], rows[0]["best"]["regret"]
    low, high = stats.t.interval(0.95, 1, 8.0, 1.0)  # of 7 and 9, whose mean has a standard error of 1
    assert (reward["low"], reward["high"]) == pytest.approx((low, high), abs=1e-4)
    assert (regret["low"], regret["high"]) == pytest.approx((0.0, 10 - low), abs=1e-4), "no regret is negative"
    assert rows[1]["best"]["regret"]["low"] is None, "of a single seed"
    assert "regret" not in summarize_methods([made("a", 0, 7.0)], highest=None)[0]["best"]
    wide = mean_with_interval(np.arange(100.0).tolist())
    assert mean_with_interval([2.0, 2.0, 2.0])["high"] is None, "their spread is not known"
    assert wide["low"] == pytest.approx(49.5 - 1.96 * 29 / 10, abs=0.5)


def test_a_distribution_has_its_mean_and_spread() -> None:
    assert distribution([1.0, 2.0, 4.5], 2) == {
        "n": 3,
        "different": 2,
        "mean": 2.5,
        "std": 1.8028,
        "accuracy": [1.0, 2.0, 4.5],
    }


def test_enas_probability_is_that_of_the_bits_before() -> None:
    """The mean probability of Fig. 5 is the scheme's own, not that of the likeliest one."""
    method = ENAS(BLOCKS, seed=0)
    rng = np.random.default_rng(0)
    for weight in method.controller.parameters():
        weight.data.mul_(15)
    total = 0.0
    for scheme in all_schemes(BLOCKS):
        total += float(np.prod(method.p_hat(scheme)))
    assert total == pytest.approx(1.0, abs=1e-5)  # the product over the bits is the scheme's probability
    drawn = [scheme.text for scheme in method.sample(4000, rng)]
    likely = max(all_schemes(BLOCKS), key=lambda one: float(np.prod(method.p_hat(one))))
    assert drawn.count(likely.text) / 4000 == pytest.approx(float(np.prod(method.p_hat(likely))), abs=0.03)
    history = History(None)
    run_search(ENAS(BLOCKS, seed=0), LANDSCAPE.evaluate, steps=3, reward=Reward(), history=history)
    fresh = ENAS(BLOCKS, seed=0)
    first = Scheme.parse(history.lines[0].bits, blocks=BLOCKS)
    assert history.lines[0].p_mean == pytest.approx(float(fresh.p_hat(first).mean()), abs=1e-5)
