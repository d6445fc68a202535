"""Bootstraps against a loop, correlations against SciPy's, intervals against what they are for."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ean_core.utils.errors import EANError
from ean_core.utils.intervals import (
    COEFFICIENTS,
    FEWEST_PAIRS,
    Interval,
    binomial_error,
    bootstrap,
    bootstrap_each,
    bootstrap_median,
    ceiling,
    correlation_differences,
    correlations,
    for_record,
    kendall,
    pearson,
    repeat_error,
    spearman,
    spread_against_error,
    student_interval,
)

REFERENCES = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
VALUES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=12)


def resampled(statistic, *samples: np.ndarray, resamples: int, seed: int) -> list[float]:
    """Percentiles of a statistic over resampled pairs, one resample after the other."""
    draws = np.random.default_rng(seed).integers(len(samples[0]), size=(resamples, len(samples[0])))
    return np.percentile([statistic(*(sample[draw] for sample in samples)) for draw in draws], (2.5, 97.5)).tolist()


@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_a_bootstrap_is_that_of_a_loop(statistic) -> None:
    values = np.random.default_rng(0).normal(3.0, 1.0, 12)
    interval = bootstrap(statistic, values, resamples=300, seed=5)
    assert interval.value == statistic(values)
    assert [interval.low, interval.high] == pytest.approx(resampled(statistic, values, resamples=300, seed=5))
    assert bootstrap(statistic, values, resamples=300, seed=6) != interval


def test_a_paired_bootstrap_keeps_the_pairs_together() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 12))
    ends = resampled(lambda x, y: stats.pearsonr(x, y).statistic, x, y, resamples=200, seed=2)
    interval = bootstrap(pearson, x, y, resamples=200, seed=2)
    assert [interval.low, interval.high] == pytest.approx(ends)


def test_pearsons_interval_is_scipys() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 14))
    expected = stats.pearsonr(x, y).confidence_interval(0.95)
    interval = correlations(x, y)["pearson"]
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))
    ordered = correlations(np.arange(12), np.arange(12) ** 3)
    assert ordered["spearman"] == Interval(pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_a_statistic_of_several_values_has_an_interval_for_each() -> None:
    rows = np.random.default_rng(2).normal(size=(3, 20))
    intervals = bootstrap_each(np.mean, rows, resamples=100, seed=1)
    for interval, row in zip(intervals, rows, strict=True):
        alone = bootstrap(np.mean, row, resamples=100, seed=1)
        assert astuple(interval) == pytest.approx(astuple(alone))


def test_a_single_value_has_an_interval_of_no_width() -> None:
    assert bootstrap(np.median, [2.5]) == Interval(2.5, 2.5, 2.5)


def test_the_interval_of_a_mean_over_three_seeds_covers_it() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, size=(500, 3))
    inside = [student_interval(row.mean(), row.std(ddof=1), 3).contains(5.0) for row in values]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)  # a percentile bootstrap: 0.75
    assert math.isnan(student_interval(5.0, None, 1).low)
    assert math.isnan(student_interval(5.0, 0.0, 3).high), "equal values do not tell their spread"


def test_a_median_of_few_values_has_no_interval() -> None:
    assert bootstrap_median([3.0, 1.0, 2.0, 9.0]).to_record() == {"value": 2.5, "low": None, "high": None}
    assert bootstrap_median([3.0, 1.0, 2.0, 9.0, 4.0]) == Interval(3.0, 1.0, 9.0)


def test_an_interval_in_another_unit() -> None:
    interval = Interval(0.25, 0.125, 0.5)
    assert interval.scaled(100) == Interval(25.0, 12.5, 50.0)
    assert interval.half_width == 0.1875
    assert [interval.contains(value) for value in (0.1, 0.125, 0.5, 0.6)] == [False, True, True, False]


@given(VALUES)
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore")  # SciPy warns of constant input
def test_coefficients_are_scipys_also_with_ties_and_constants(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    for name, coefficient in COEFFICIENTS.items():
        expected = REFERENCES[name](x, y).statistic
        assert float(coefficient(x, y)) == pytest.approx(expected, abs=1e-9, nan_ok=True), name


def test_rows_are_taken_one_by_one() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 5, 9))
    for coefficient in (pearson, spearman, kendall):
        assert coefficient(x, y).tolist() == pytest.approx(
            [float(coefficient(a, b)) for a, b in zip(x, y, strict=True)]
        )


def test_values_that_differ_by_rounding_only_have_no_correlation() -> None:
    assert math.isnan(float(pearson(np.array([0.1 + 0.2, 0.3, 0.3, 0.3]), np.arange(4.0))))


def test_intervals_are_repeatable_hold_the_value_and_shrink_with_the_pairs() -> None:
    rng = np.random.default_rng(1)
    few, many = (rng.normal(size=(2, count)) for count in (10, 100))
    few[1] += few[0]
    many[1] += many[0]
    estimates = correlations(*few)
    assert estimates == correlations(*few)
    assert list(estimates) == ["pearson", "spearman", "kendall"]
    for name, estimate in estimates.items():
        assert -1 <= estimate.low < estimate.value < estimate.high <= 1
        wide, narrow = estimate, correlations(*many)[name]
        assert narrow.high - narrow.low < 0.7 * (wide.high - wide.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """A percentile bootstrap of so few pairs: 0.88."""
    rng = np.random.default_rng(0)
    truth = {"pearson": 0.6, "spearman": 6 / np.pi * np.arcsin(0.3), "kendall": 2 / np.pi * np.arcsin(0.6)}
    inside = dict.fromkeys(truth, 0)
    for _ in range(200):
        x = rng.normal(size=14)
        y = 0.6 * x + 0.8 * rng.normal(size=14)
        for name, estimate in correlations(x, y).items():
            inside[name] += estimate.contains(truth[name])
    assert all(0.92 <= count / 200 <= 0.98 for count in inside.values())


def test_the_difference_is_surer_than_two_intervals() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=20)
    shared = rng.normal(size=20)
    good, bad = y + shared, y + 1.3 * shared
    difference = correlation_differences(good, bad, y)["pearson"]
    apart, together = correlations(good, y)["pearson"], correlations(bad, y)["pearson"]
    assert difference.value == pytest.approx(apart.value - together.value)
    assert difference.low > 0
    assert apart.low < together.high  # the two intervals overlap


def test_what_never_varies_has_no_number_in_a_record() -> None:
    record = for_record(correlations([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]))
    assert record["kendall"] == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 4], [1, 2, 3])])
def test_too_few_pairs_are_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(EANError, match=f"at least {FEWEST_PAIRS} pairs"):
        correlations(x, y)


def test_spread_against_chance() -> None:
    assert binomial_error(50.0, 2500) == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    chance = 100 * rng.binomial(1000, 0.6, size=400) / 1000
    alone = spread_against_error(chance, images=1000)
    assert alone["deviation"] == pytest.approx(alone["standard_error"], rel=0.1)
    assert "real_share" not in alone, "the images that schemes share make this error no measure of theirs"
    assert spread_against_error([50.0], images=10)["deviation"] == 0


def test_deviation_between_repeats_is_pooled() -> None:
    assert repeat_error([[1.0], [2.0]]) is None
    assert repeat_error([[1.0, 3.0], [10.0, 10.0], [5.0]]) == pytest.approx(1.0)  # (2 + 0) over 2 degrees of freedom


@pytest.mark.parametrize("seeds", [1, 2, 8])
def test_the_ceiling_is_the_correlation_of_a_score_without_error(seeds: int) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=20_000)
    repeats = true[:, None] + 1.5 * rng.normal(size=(20_000, seeds))
    estimate = ceiling(repeats.tolist())
    if seeds == 1:
        assert estimate is None
        return
    assert estimate.value == pytest.approx(float(pearson(true, repeats.mean(axis=1))), abs=0.03)
    assert estimate.value == pytest.approx((1 / (1 + 1.5**2 / seeds)) ** 0.5, abs=0.03)
    assert estimate.low < estimate.value < estimate.high


def test_the_ceiling_of_pure_noise_is_none_at_all() -> None:
    assert ceiling([[0.0, 2.0], [2.0, 0.1], [1.0, 1.0], [3.0, -1.0]]).value == 0
    mixed = ceiling([[0.0, 0.0], [1.0], [2.0, 2.0], [3.0]])  # repeats that agree, some groups without repeats
    assert mixed.value == 1


def test_the_interval_of_the_ceiling_is_that_of_leaving_out_one_group_after_the_other() -> None:
    rng = np.random.default_rng(3)
    repeats = [(3 * rng.normal() + rng.normal(size=count)).tolist() for count in (3, 2, 1, 4, 2, 2)]
    estimate, n = ceiling(repeats), len(repeats)

    def log_ratio(groups: list[list[float]]) -> float:
        error = repeat_error(groups) ** 2 * np.mean([1 / len(group) for group in groups])
        return math.log(np.var([np.mean(group) for group in groups], ddof=1) / error)

    whole, left_out = log_ratio(repeats), [log_ratio(repeats[:k] + repeats[k + 1 :]) for k in range(n)]
    pseudo = [n * whole - (n - 1) * value for value in left_out]
    half = stats.t.ppf(0.975, n - 1) * np.std(pseudo, ddof=1) / math.sqrt(n)
    ends = [math.sqrt(max(0, 1 - math.exp(-value))) for value in (whole, whole - half, whole + half)]
    assert [estimate.value, estimate.low, estimate.high] == pytest.approx(ends)


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_the_interval_of_the_ceiling_covers_the_truth_with_a_dozen_groups(spread: float) -> None:
    rng, truth, inside = np.random.default_rng(0), math.sqrt(spread**2 / (spread**2 + 0.5)), 0
    for _ in range(400):
        repeats = spread * rng.normal(size=(12, 1)) + rng.normal(size=(12, 2))
        estimate = ceiling(repeats.tolist())
        inside += estimate.low <= truth <= estimate.high
    assert 0.92 <= inside / 400 <= 0.98  # a percentile bootstrap: 0.87 to 0.90


@pytest.mark.parametrize(
    "repeats", [[[0, 1], [1], [3], [7]], [[0, 0], [1, 1], [1, 1], [3, 4]], [[0, 0], [1], [2, 2], [3]]]
)
def test_a_ceiling_that_hangs_on_one_group_has_no_narrow_interval(repeats: list[list[float]]) -> None:
    estimate = ceiling(repeats)
    assert estimate.value > 0.9
    assert (estimate.low, estimate.high) == (0, 1)


def test_there_is_no_ceiling_where_nothing_varies() -> None:
    estimate = ceiling([[67.83, 67.83]] * 12)  # whose mean is not 67.83 to the last bit
    assert estimate.to_record() == {"value": None, "low": None, "high": None}
