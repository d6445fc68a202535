"""Paired comparisons against slow references, and the sentences that they give."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from scipy import stats

from ean_core import EANError
from ean_core.utils.comparison_sentences import (
    Comparison,
    compare_errors_sentence,
    compare_images_sentence,
    compare_seeds_sentence,
    corrected_sentences,
    pairs_of,
)
from ean_core.utils.significance import (
    FEWEST_SEEDS,
    compare_groups,
    compare_samples,
    correct_for_comparisons,
    holm,
    paired_difference,
    paired_images,
    seeds_needed,
    sign_flip_test,
    sign_flip_tests,
    std_interval,
)


def ttest(studies: np.ndarray) -> list[float]:
    """Student's p-value of each row's mean."""
    return stats.ttest_1samp(studies, 0, axis=1).pvalue.tolist()


ORG = [60.1, 60.9, 60.4, 60.7, 60.2, 60.8]


def test_the_interval_is_students_and_the_test_flips_every_sign() -> None:
    first = [61.2, 61.5, 61.6, 61.1, 61.4, 61.3]
    result = paired_difference(first, ORG)
    differences = np.subtract(first, ORG)
    half = stats.t.ppf(0.975, 5) * differences.std(ddof=1) / np.sqrt(6)
    assert result.mean == pytest.approx(differences.mean())
    assert (result.low, result.high) == pytest.approx((differences.mean() - half, differences.mean() + half))
    flips = [np.mean(np.multiply(differences, signs)) for signs in product((-1, 1), repeat=6)]
    assert result.p_value == pytest.approx(np.mean(np.abs(flips) >= abs(differences.mean()) - 1e-12))
    assert result.p_value == pytest.approx(2 / 64)
    assert result.verdict() == "better"
    assert result.verdict(higher_is_better=False) == "worse"
    assert paired_difference(ORG, first).verdict() == "worse"


@pytest.mark.parametrize("pairs", [2, 3, 5])
def test_too_few_seeds_never_show_a_difference(pairs: int) -> None:
    first = [value + 5 + 0.01 * index for index, value in enumerate(ORG[:pairs])]
    result = paired_difference(first, ORG[:pairs])
    assert result.p_value == pytest.approx(2 / 2**pairs)
    assert result.low is not None
    assert result.low > 4
    assert result.verdict() == "unknown"
    said = compare_seeds_sentence("EAN", "Org", result)
    assert said.startswith(f"No difference between EAN and Org can be shown with {pairs} seeds: ")
    assert "about 6 seeds would show a difference of 0.5 points" in said, "of two pairs, the spread is not known either"


def test_seeds_that_differ_alike_up_to_rounding_have_no_spread() -> None:
    """50.1 - 50.0, 50.3 - 50.2 and 50.5 - 50.4 differ in their last bits, which say nothing about the spread."""
    near = paired_difference([50.1, 50.3, 50.5], [50.0, 50.2, 50.4])
    assert (near.std, near.verdict()) == (0.0, "unknown")
    sums = [(0.1 + 0.2) * value for value in range(1, 7)], [0.3 * value for value in range(1, 7)]
    same = paired_difference(*sums)
    assert (same.mean, same.p_value, same.verdict()) == (0, 1, "unknown")


def test_neither_equal_networks_nor_one_seed_say_anything() -> None:
    result = paired_difference(ORG, ORG)
    assert (result.mean, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    assert result.verdict() == "unknown"
    assert paired_difference([1.0], [0.0]).verdict() == "unknown"
    shifted = paired_difference([value + 1 for value in ORG], ORG)  # the same difference with every seed
    assert shifted.verdict() == "better"
    assert shifted.low == pytest.approx(1)


def test_the_sentences() -> None:
    near = paired_difference(
        [value + shift for value, shift in zip(ORG, (0.1, -0.1, 0.2, -0.2, 0.1, 0), strict=True)], ORG
    )
    assert compare_seeds_sentence("EAN", "Org", near).startswith(
        "EAN and Org are level within 0.5 points: +0.02 points"
    )
    wide = paired_difference([value + shift for value, shift in zip(ORG, (2, -2, 1, -1, 3, 0), strict=True)], ORG)
    text = compare_seeds_sentence("EAN", "Org", wide)
    assert "+0.50 points of test accuracy (95 % interval -1.46 to 2.46, 6 seeds, p = " in text
    assert wide.std is not None
    low, high = (seeds_needed(end) for end in std_interval(wide.std, 6))
    assert text.endswith(
        f"; about {seeds_needed(wide.std)} seeds (95 %: {low} to {high}) would show a difference of 0.5 points."
    )
    several = compare_seeds_sentence("EAN", "Org", replace(wide, p_value=0.7, comparisons=3))
    assert ", p = 0.7 corrected for 3 comparisons); about " in several
    assert f"about {seeds_needed(wide.std, comparisons=3)} seeds" in several
    far = paired_difference([value + 90 * shift for value, shift in zip(ORG, (2, -2, 1, -1, 3, 0), strict=True)], ORG)
    said = compare_seeds_sentence("EAN", "Org", far)
    assert said.endswith("; 1,000 or more seeds would show a difference of 0.5 points."), "where counting stopped"
    few = compare_seeds_sentence("EAN", "Org", paired_difference([51.5, 49.7, 49.7], [50.2, 51.9, 52.0]))
    assert few.endswith(" seeds (95 %: 38 to 1,000 or more) would show a difference of 0.5 points.")
    better = paired_difference([value + 1 + shift / 10 for shift, value in enumerate(ORG)], ORG)
    assert compare_seeds_sentence("EAN", "Org", better).startswith("EAN is better than Org: ")
    assert compare_seeds_sentence("EAN", "Org", better, higher_is_better=False).startswith("EAN is worse than Org: ")


@pytest.mark.parametrize("std", [0.277, 0.35, 0.41, 0.45])
def test_the_number_of_seeds_calls_a_difference_better_in_four_of_five_studies(std: float) -> None:
    pairs = seeds_needed(std)
    assert pairs in range(6, 10)
    studies = np.random.default_rng(0).normal(0.5, std, size=(500, pairs))
    better = [p <= 0.05 and sign_flip_test(study) <= 0.05 for p, study in zip(ttest(studies), studies, strict=True)]
    assert 0.76 <= np.mean(better) <= 0.9
    assert seeds_needed(std, comparisons=3) > pairs


def test_the_number_of_seeds_is_that_of_students_test_where_they_are_many() -> None:
    pairs = seeds_needed(0.8, difference=0.5)
    power = stats.nct.sf(stats.t.ppf(0.975, pairs - 1), pairs - 1, 0.5 / 0.8 * math.sqrt(pairs))
    assert power == pytest.approx(0.8, abs=0.02)
    assert seeds_needed(1e-6) == FEWEST_SEEDS
    assert seeds_needed(100.0, most=50) == 50


def test_the_interval_of_a_standard_deviation_covers_it() -> None:
    drawn = np.random.default_rng(0).normal(0, 2, size=(4000, 3)).std(axis=1, ddof=1)
    inside = [low <= 2 <= high for low, high in (std_interval(std, 3) for std in drawn[:1000])]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_several_comparisons_err_together_once_in_twenty_studies() -> None:
    """Eleven networks that are alike, with six seeds: uncorrected, a third of the tables call two of them different."""
    labels = ["org", "share-full", *"abcdefghi"]
    pairs = [(labels.index(first), labels.index(second)) for first, second in pairs_of(labels)]
    assert len(pairs) == 19
    wrong, alone = [], []
    for values in np.random.default_rng(0).normal(size=(120, 6, 11)):
        differences = np.stack([values[:, first] - values[:, second] for first, second in pairs], axis=1)
        alone.append(min(map(sign_flip_test, differences.T)) <= 0.05)
        wrong.append(min(sign_flip_tests(differences)) <= 0.05)
    assert np.mean(alone) > 0.25
    assert np.mean(wrong) <= 0.07


def test_the_correction_is_that_of_a_loop_over_flips_of_whole_seeds() -> None:
    """A comparison that lacks a seed has no difference to flip there, and a clear one is shown with six seeds."""
    differences = [[2.0, 2.2, 1.9, 2.1, 2.4, 1.8], [0.1, -0.3, 0.2, 0.1, -0.2], [0.5, -0.2, 0.9, 0.4, 0.3, 0.6]]
    found = [paired_difference(values, [0.0] * len(values), seeds=range(6 - len(values), 6)) for values in differences]
    corrected = correct_for_comparisons(found)
    means = [abs(np.mean(values)) for values in differences]
    p_values, last = {}, 0.0
    for index in sorted(range(3), key=lambda index: -means[index]):
        hits = 0
        for signs in product((-1, 1), repeat=6):
            flipped = [
                abs(np.mean([s * d for s, d in zip(signs[6 - len(values) :], values, strict=True)]))
                for values, mean in zip(differences, means, strict=True)
                if mean <= means[index]
            ]
            hits += max(flipped) >= means[index] - 1e-9
        p_values[index] = last = max(last, hits / 64)
    assert [one.p_value for one in corrected] == pytest.approx([p_values[index] for index in range(3)])
    assert corrected[0].p_value == pytest.approx(2 / 64)
    assert {one.comparisons for one in corrected} == {3}
    scaled = correct_for_comparisons(found, [1.0, 0.01, 1.0])
    assert scaled[0].p_value > 0.05, "a difference is compared with those of the others, in their own unit"


def test_comparisons_over_images_are_corrected_by_holm() -> None:
    rng = np.random.default_rng(0)
    right = [rng.random(400) < share for share in (0.5, 0.58, 0.6)]
    found = [paired_images(right[k], right[0]) for k in (1, 2)]
    said = corrected_sentences([Comparison(one, partial(compare_images_sentence, "A", "B")) for one in found])
    for sentence, p_value in zip(said, holm([one.p_value for one in found]), strict=True):
        assert f"p = {p_value:.2g} corrected for 2 comparisons)" in sentence
    alone = Comparison(found[0], partial(compare_images_sentence, "A", "B"))
    assert corrected_sentences([alone]) == [compare_images_sentence("A", "B", found[0])]


def test_many_pairs_are_sampled_and_always_alike() -> None:
    differences = np.random.default_rng(1).normal(0.2, 1, size=40)
    assert sign_flip_test(differences) == sign_flip_test(differences)
    assert sign_flip_test(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.03)


def test_images_are_compared_by_mcnemar() -> None:
    first = np.array([1] * 60 + [0] * 40, dtype=bool)
    second = np.array([1] * 50 + [0] * 10 + [1] * 4 + [0] * 36, dtype=bool)
    result = paired_images(first, second)
    assert (result.only_first, result.only_second, result.images) == (10, 4, 100)
    assert result.mean == pytest.approx(100 * (first.mean() - second.mean()))
    tail = sum(stats.binom.pmf(k, 14, 0.5) for k in range(10, 15))
    assert result.p_value == pytest.approx(2 * tail)
    low, high = result.interval
    assert (low + high) / 2 == pytest.approx(100 * 6 / 102)
    variance = (10.5 + 4.5 - 102 * (6 / 102) ** 2) / 102
    assert (high - low) / 2 == pytest.approx(100 * 1.959964 * math.sqrt(variance / 102), rel=1e-5)
    low, high = paired_images(first, first).interval
    assert -high == low < -1, "no image differs, which is no proof that none does"
    assert type(low) is float, "files of weights may hold it, and they hold no NumPy scalars"
    text = compare_images_sentence("EAN", "Org", result)
    assert text.startswith("No difference between EAN and Org can be shown: 60 and 54 of 100 test images right, +6.00")
    better = compare_images_sentence("EAN", "Org", paired_images(np.ones(50), np.zeros(50)))
    assert better.startswith("EAN is better than Org on images like these: 50 and 0 of 50 test images right, ")
    worse = compare_images_sentence("EAN", "Org", paired_images(np.zeros(50), np.ones(50)))
    assert worse.startswith("Org is better than EAN on images like these: 0 and 50 of 50 test images right, -100.00")
    assert paired_images(first, first).p_value == 1.0


def test_seeds_that_all_differ_alike_are_not_called_level() -> None:
    """On few test images three seeds may well have the same accuracies: the spread is unknown and not zero."""
    same = paired_difference([97.5, 95.0, 100.0], [97.5, 95.0, 100.0])
    assert same.verdict() == "unknown"
    text = compare_seeds_sentence("EAN", "Org", same)
    assert text.startswith("No difference between EAN and Org can be shown with 3 seeds: +0.00 points")
    assert text.endswith("; all seeds have the same difference, so that nothing is known about its spread.")


def test_holms_correction() -> None:
    """Worked by hand; with it, four true hypotheses are rejected in one of twenty studies, not in one of five."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert (holm([]), holm([0.2])) == ([], [0.2])
    studies = np.random.default_rng(0).uniform(size=(4000, 4))
    assert np.mean([min(holm(study)) <= 0.05 for study in studies]) == pytest.approx(0.05, abs=0.01)


def test_what_is_not_paired_is_refused() -> None:
    with pytest.raises(EANError, match="the same seeds on both sides, got 1 and 2 values"):
        paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(EANError, match="on the same images, got 3 and 2 results"):
        paired_images(np.ones(3), np.ones(2))


def test_two_samples_are_compared_as_scipy_and_a_loop_do() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(1.0, 1.0, 30).round(1), rng.normal(0.0, 2.0, 40).round(1)
    tests = compare_samples(first, second)
    assert tests["welch_p"] == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)
    assert tests["mann_whitney_p"] == pytest.approx(stats.mannwhitneyu(first, second).pvalue)
    wins = [(a > b) + 0.5 * (a == b) for a in first for b in second]
    assert tests["wins"] == pytest.approx(np.mean(wins), abs=1e-4)
    same = compare_samples([5.0, 5.0], [5.0, 5.0, 5.0])
    assert (same["welch_p"], same["mann_whitney_p"], same["wins"]) == (None, None, 0.5)
    settled = compare_samples([6.0, 6.0], [5.0, 5.5, 4.0])  # a search that has settled on one scheme
    assert 0 < settled["welch_p"] < 0.2


def test_values_of_one_search_count_as_one() -> None:
    """Three searches whose forty schemes each lie close together, and random schemes from the same distribution."""
    rng, alone, grouped = np.random.default_rng(0), 0, 0
    for _ in range(100):
        groups = [(rng.normal() + 0.2 * rng.normal(size=40)).tolist() for _ in range(3)]
        others = rng.normal(size=120)
        alone += compare_samples(np.concatenate(groups), others)["welch_p"] <= 0.05
        grouped += compare_groups(groups, others)["welch_p"] <= 0.05
    assert alone > 50
    assert grouped <= 8
    tests = compare_groups(groups, others)
    means = [np.mean(group) for group in groups]
    t = stats.ttest_ind(means, others, equal_var=False).statistic
    assert tests["welch_t"] == pytest.approx(t, abs=1e-4)
    assert tests["welch_p"] == pytest.approx(2 * stats.t.sf(abs(t), 2))
    assert tests["groups"] == 3
    assert compare_groups(groups[:1], others)["welch_p"] is None


def test_errors_of_images_are_compared_where_lower_is_better() -> None:
    rng = np.random.default_rng(0)
    second = rng.uniform(50, 90, 60)
    first = second - rng.uniform(1, 3, 60)
    difference = paired_difference(first.tolist(), second.tolist())
    sentence = compare_errors_sentence("EAN", "Org", difference, metric="test MAE", unit="people")
    assert sentence.startswith(
        f"EAN is better than Org on images like these: {difference.mean:+.2f} people of test MAE on 60 test "
    )
    higher = compare_errors_sentence("EAN", "Org", difference, metric="IoU", unit="points", higher_is_better=True)
    assert higher.startswith("Org is better than EAN on images like these: ")
    level = paired_difference([1.0, 2.0, 3.0], [2.0, 1.0, 3.0])
    assert "No difference between A and B" in compare_errors_sentence("A", "B", level, metric="MAE", unit="people")
