"""Time in the search: a term of the reward, and a limit that every method keeps."""

from __future__ import annotations

import json
import re
from itertools import product

import numpy as np
import pytest

from ean_core.scheme import Scheme
from ean_core.search import History, Reward, build_method, run_search
from ean_core.search.latency_limit import Limit
from ean_core.search.latency_limited_method import Limited
from ean_core.search.reward import TimedReward
from ean_core.utils.errors import EANError

BLOCKS = (3, 3, 3)
COSTS = (0.5, 1.0, 0.25, 2.0, 0.75, 0.5, 1.5, 0.25, 3.0)  # percent each; 9.75 together
LIMIT = 3.3
STEPS = 6


def finish(method, evaluate, history, *, reward=None, limit=LIMIT, **options):
    reward = reward or TimedReward.of(Reward(), COSTS)
    return run_search(
        Limited(method, Limit(COSTS, limit)), evaluate, **{"steps": STEPS, **options}, reward=reward, history=history
    )


def test_no_method_has_a_scheme_scored_that_is_too_slow(build, evaluate):
    history = History(None)
    result = finish(build(), evaluate, history)
    assert evaluate.asked
    for bits in evaluate.asked:
        assert np.dot([int(bit) for bit in bits], COSTS) <= LIMIT + 1e-9, bits
    assert result.evaluations == len(evaluate.asked) == len(set(evaluate.asked))
    for line in history.lines:
        assert line.increment == pytest.approx(np.dot([int(bit) for bit in line.bits], COSTS))
    assert Limit(COSTS, LIMIT).allows(result.best.scheme)
    if result.most_probable is not None:
        assert Limit(COSTS, LIMIT).allows(result.most_probable.scheme)


def test_a_loose_limit_changes_nothing(build, new_evaluate):
    free, held = History(None), History(None)
    first = run_search(build(), new_evaluate(), steps=STEPS, reward=TimedReward.of(Reward(), COSTS), history=free)
    other = finish(build(), new_evaluate(), held, limit=100.0)
    assert first == other
    assert [line.bits for line in free.lines] == [line.bits for line in held.lines]


def test_an_interrupted_search_with_a_limit_ends_as_an_uninterrupted_one(build, new_evaluate, tmp_path):
    path = tmp_path / "history.jsonl"
    whole = History.open(path, resume=False)
    expected = finish(build(), new_evaluate(), whole)
    rows = path.read_text().splitlines(keepends=True)
    for cut in sorted({0, 1, len(rows) // 2, len(rows) - 1}):
        path.write_text("".join(rows[:cut]))
        known = {json.loads(row)["bits"] for row in rows[:cut]}
        evaluate = new_evaluate()
        history = History.open(path, resume=True)
        assert finish(build(), evaluate, history) == expected
        assert [line.bits for line in history.lines] == [line.bits for line in whole.lines]
        assert not known & set(evaluate.asked)


def test_the_terms_sum_to_the_reward_and_slow_schemes_pay(evaluate):
    reward = TimedReward.of(Reward(latency=0.5), COSTS)
    slow, fast = Scheme((0,) * 8 + (1,), BLOCKS), Scheme((1,) + (0,) * 8, BLOCKS)
    assert reward.terms(slow, 70.0)["latency"] == pytest.approx(-1.5)
    assert reward.terms(fast, 70.0)["latency"] == pytest.approx(-0.25)
    assert {**reward.terms(slow, 70.0), "latency": 0} == {**Reward().terms(slow, 70.0), "latency": 0}
    assert "latency" not in TimedReward.of(Reward(), COSTS).terms(slow, 70.0)  # the weight is 0 unless asked for
    method = build_method("random", BLOCKS, seed=0, reward=reward)
    history = History(None)
    result = run_search(method, evaluate, steps=40, reward=reward, history=history)
    assert all(line.terms["latency"] == pytest.approx(-0.5 * line.increment) for line in history.lines)
    assert result.best.reward == pytest.approx(sum(result.best.terms.values()))


def test_a_reward_that_wants_time_needs_a_table():
    with pytest.raises(EANError, match="give search.latency=FILE"):
        Reward(latency=1.0).terms(Scheme.all_on(BLOCKS), 70.0)


def test_repair_keeps_what_fits_and_only_what_was_proposed():
    rng = np.random.default_rng(0)
    for _ in range(200):
        costs, percent = rng.uniform(0.1, 3.0, 9), rng.uniform(3.0, 8.0)
        limit, proposed = Limit(costs, percent), Scheme.random(BLOCKS, rng, p=0.8)
        repaired = limit.repair(proposed, rng.uniform(size=9))
        assert limit.allows(repaired)
        assert all(kept <= bit for kept, bit in zip(repaired.bits, proposed.bits, strict=True))
        assert (repaired == proposed) == limit.allows(proposed)
        left = percent - limit.increment(repaired)
        dropped = [c for c, kept, bit in zip(costs, repaired.bits, proposed.bits, strict=True) if bit and not kept]
        assert all(cost > left for cost in dropped)  # nothing that would still fit was dropped


def test_repair_prefers_probable_connections_and_without_probabilities_treats_all_alike():
    limit, rng = Limit((1.0,) * 9, 3.0), np.random.default_rng(0)
    blocks, p = (9,), np.array([0.9] * 3 + [0.1] * 6)
    longer = (27,)
    wide = Limit((1.0,) * 27, 9.0)
    kept, alike = np.zeros(27), np.zeros(27)
    for _ in range(400):
        proposed = Scheme.random(longer, rng, p=0.7)
        kept += wide.repair(proposed, np.tile(p, 3)).bits
        alike += wide.repair(proposed, None).bits
    assert kept.reshape(3, 9)[:, :3].mean() > 2.5 * kept.reshape(3, 9)[:, 3:].mean()
    assert alike.max() < 1.4 * alike.min()
    most = Limited(build_method("random", blocks, seed=0, reward=Reward()), limit)
    assert most.limit.keep(Scheme.all_on(blocks), p).text == "111000000"


def test_what_was_measured_at_a_gain_is_kept():
    limit = Limit((-0.5, 2.0, 1.0), 0.6)
    assert limit.repair(Scheme.all_on((3,)), None).text == "101"
    assert limit.allows(Scheme((1, 0, 0), (3,)))


@pytest.mark.parametrize(
    ("percent", "sentence"),
    [
        (0.2, r"only the scheme without connections .* block 3, adds 0.25 %; .* at least 0.25$"),
        (-1.0, r"the limit must be at least 0 %, since no scheme is faster than Org, got -1 %$"),
    ],
)
def test_impossible_limits_are_refused_with_the_nearest_feasible_one(percent, sentence):
    with pytest.raises(EANError, match=sentence):
        Limit(COSTS, percent)
    Limit(COSTS, 0.25)  # the value that the message gives


def test_the_nearest_limit_is_rounded_up_so_that_it_works():
    with pytest.raises(EANError, match="at least 0.34$"):
        Limit((0.3333, 1.0), 0.1)
    Limit((0.3333, 1.0), 0.34)


@pytest.mark.parametrize("costs", [COSTS, (0.5, -0.25, 1.0, 0.75, -1.0)])
@pytest.mark.parametrize("percent", [0.25, 1.0, 3.3, 100.0])
def test_schemes_within_a_limit_are_counted(costs, percent):
    limit, blocks = Limit(costs, percent), (len(costs),)
    allowed = sum(limit.allows(Scheme(bits, blocks)) for bits in product((0, 1), repeat=len(costs)))
    assert limit.count(10_000) == allowed
    assert limit.count(3) == min(3, allowed)
    assert Limit([0.3] * 54, 10.0).count(500) == 500  # of 2**54, at once


@pytest.mark.parametrize(
    ("limit", "steps", "sentence"),
    [
        (
            0.25,
            200,
            r"all 3 schemes .* at most 0.25 % slower than Org were scored; {slower} of the 200 proposals were slower",
        ),
        (
            3.3,
            10,
            r"{scored} of the 131 schemes .* scored; {slower} of the 10 proposals .* had connections removed first",
        ),
        (100.0, 4, r"4 of the 512 schemes .* scored; 0 of the 4 proposals"),
    ],
)
def test_a_search_says_what_the_limit_left(evaluate, limit, steps, sentence):
    free = build_method("random", BLOCKS, seed=0, reward=Reward())  # proposes the same with and without a limit
    slower = sum(not Limit(COSTS, limit).allows(free.propose()[0]) for _ in range(steps))
    method = Limited(build_method("random", BLOCKS, seed=0, reward=Reward()), Limit(COSTS, limit))
    outcome = run_search(method, evaluate, steps=steps, reward=TimedReward.of(Reward(), COSTS), history=History(None))
    account = method.account(scored=outcome.evaluations, proposals=outcome.proposals)
    assert re.match(sentence.format(scored=len(evaluate.asked), slower=slower), account)


def test_very_many_schemes_are_not_counted_to_the_end():
    method = Limited(build_method("random", (54,), seed=0, reward=Reward()), Limit([0.3] * 54, 10.0))
    assert method.account(scored=7, proposals=9).startswith("7 of the more than 10,000 schemes")
    assert method.account(scored=20_000, proposals=30_000).startswith("20,000 of the more than 20,000 schemes")


def test_families_leave_members_out_and_are_refused_if_none_is_left(evaluate):
    finish(build_method("tail-k", BLOCKS, seed=0, reward=Reward()), evaluate, History(None), limit=4.75)
    assert evaluate.asked == ["000000001", "000000011", "000000111"]  # 3, 3.25, 4.75; as they are, not repaired
    with pytest.raises(EANError, match=r"none of the 9 .* TailK .* 000 \| 000 \| 001, .* at least 3, or another"):
        Limited(build_method("tail-k", BLOCKS, seed=0, reward=Reward()), Limit(COSTS, 2.9))
    Limited(build_method("tail-k", BLOCKS, seed=0, reward=Reward()), Limit(COSTS, 3))  # the value that it gives


def test_a_limit_and_a_front_over_time_work_together(new_evaluate):
    history = History(None)
    method = build_method("genetic", BLOCKS, seed=0, reward=Reward(), options={"population": 6})
    finish(method, new_evaluate(), history, steps=12)
    told = method.algorithm.pop.get("F")
    times = {round(float(time), 6) for time in told[:, 1]}
    assert times <= {round(line.increment, 6) for line in history.lines}  # its second objective is the time


def test_repairs_are_counted():
    method = Limited(build_method("random", BLOCKS, seed=0, reward=Reward()), Limit(COSTS, 0.6))
    for _ in range(20):
        method.propose()
    assert 15 <= method.repaired <= 20
