"""The made-up rewards: their best scheme is the best, their noise is a validation set's, and the benchmark runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ean_core.io.records import read_record
from ean_core.scheme import Scheme
from ean_core.search import Reward, build_method
from ean_core.search.reward_landscapes import (
    KINDS,
    _best_by_integer_programming,
    _best_exhaustively,
    make_landscape,
    measure_regret,
)
from ean_core.utils.errors import EANError

REWARD = Reward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_integer_programming_finds_what_trying_all_finds(kind, seed):
    landscape = make_landscape(kind, (4, 4, 4), seed=seed)
    np.testing.assert_array_equal(
        _best_by_integer_programming(landscape.linear, landscape.pairs),
        _best_exhaustively(landscape.linear, landscape.pairs),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_flip_and_no_draw_beats_the_best_of_54_bits(kind):
    landscape, rng = make_landscape(kind, (18, 18, 18), seed=1), np.random.default_rng(0)
    best = np.array(landscape.best(REWARD).bits)

    def value(bits: np.ndarray) -> np.ndarray:
        return landscape.accuracy(bits) + REWARD.sparsity * (1 - bits.mean(axis=1))

    flips = np.array([best ^ (np.isin(np.arange(54), (i, j))) for i in range(54) for j in range(54)])
    draws = (rng.random((20000, 54)) < 0.5).astype(int)
    assert value(best[None])[0] >= max(value(flips).max(), value(draws).max()) - 1e-9


def test_the_reward_is_the_sum_of_its_terms():
    landscape = make_landscape("pairs", (2, 2), seed=4)
    scheme = Scheme((1, 0, 1, 1), (2, 2))
    inside = sum(landscape.linear[i] for i in (0, 2, 3))
    inside += sum(landscape.pairs[i, j] for i, j in ((0, 2), (0, 3), (2, 3)))
    assert landscape.reward(scheme, REWARD) == pytest.approx(landscape.base + inside + 2.0 * 0.25)


def test_the_noise_belongs_to_the_scheme_and_has_its_size():
    landscape, rng = make_landscape("noise", (18, 18, 18), seed=0), np.random.default_rng(0)
    schemes = [Scheme.random(landscape.blocks, rng) for _ in range(800)]
    scores = np.array(landscape.evaluate(schemes))
    assert landscape.evaluate(schemes[:5]) == scores[:5].tolist()
    errors = scores - landscape.accuracy(np.array([scheme.bits for scheme in schemes]))
    assert abs(errors.mean()) < 0.04
    assert errors.std() == pytest.approx(0.3, rel=0.1)
    quiet = make_landscape("pairs", (18, 18, 18), seed=0)
    assert quiet.evaluate(schemes[:3]) == np.round(quiet.accuracy(np.array([s.bits for s in schemes[:3]])), 2).tolist()


def test_the_sparse_landscape_has_a_sparse_best():
    counts = [make_landscape("sparse", (18, 18, 18), seed=s).best(REWARD).connections for s in range(5)]
    assert max(counts) < 27


def test_an_unknown_landscape_is_named():
    with pytest.raises(EANError, match="did you mean 'noise'"):
        make_landscape("noisy", (2, 2), seed=0)


def test_regret_is_looked_at_where_it_was_asked_for():
    landscape = make_landscape("additive", (2, 2), seed=0)

    def regret(name: str, **options):
        return measure_regret(
            lambda: build_method(name, landscape.blocks, seed=0, reward=REWARD, options=options),
            landscape,
            REWARD,
            checkpoints=[2, 8, 16],
        )

    everything = regret("random")
    assert everything.most_probable is None
    assert everything.evaluations == everything.proposals == 16
    assert everything.best == sorted(everything.best, reverse=True)
    assert everything.best[-1] == pytest.approx(0)
    family = regret("tail-k", k=1)
    assert family.evaluations == 1
    assert len(set(family.best)) == 1
    assert everything.smoothed[-1] == pytest.approx(0)
    natural = regret("ean", preset="natural")
    assert len(natural.most_probable) == 3
    assert min(natural.most_probable) >= -1e-9


def test_the_benchmark_writes_a_record_and_goes_on_from_its_cache(run_here, tmp_path):
    script, few = "benchmarks/search_landscapes.py", ["--bits", 9, "--landscapes", "noise", "--seeds", 2]
    run_here(script, "--methods", "natural", *few, "--output", "one.json")
    cache = tmp_path / "work_dirs/search_landscapes.jsonl"
    cache.write_text(cache.read_text() + '["cut sho')
    done = run_here(script, "--methods", "random", "natural", *few, "--output", "two.json")
    assert "9 bits, 100 evaluations, n = 2" in done.stdout
    record = read_record(tmp_path / "two.json")
    assert record["kind"] == "search-benchmark"
    rows = {row["method"]: row for row in record["metrics"]}
    assert rows["random"]["n"] == 2
    assert rows["random"]["mean_evaluations"] == 100
    assert "most_probable" not in rows["random"]
    mean, low, high = rows["random"]["best_minus_natural_best"]
    assert low <= mean <= high
    assert len(rows["random"]["smoothed"]) == len(rows["random"]["best"])
    assert "best_minus_natural_smoothed" in rows["random"]
    assert rows["natural"]["best"] == read_record(tmp_path / "one.json")["metrics"][0]["best"]
    assert (tmp_path / "two.png").stat().st_size > 10_000
    assert len([line for line in cache.read_text().splitlines() if line.endswith("}]")]) == 4
    json.dumps(record, allow_nan=False)
