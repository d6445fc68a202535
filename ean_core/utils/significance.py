"""Is one better than another? Paired comparisons of networks, and of two independent samples.

Networks trained with the same seeds are compared seed by seed: Student's t interval of the mean difference, and the
exact sign-flip test, which assumes only that a difference of no network is as likely to have either sign. A bootstrap
over three to six seeds would give intervals that are too narrow. With one seed each, two networks are compared image by
image (McNemar's test), which says something about these two networks and nothing about what they were built from.

The p-values of several comparisons are corrected for their number, so that with 0.05 all of them together err once in
twenty studies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy import stats

from ean_core.utils.errors import EANError

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
FEWEST_SEEDS = 6
"""With n pairs the sign-flip test gives p = 2 / 2^n at least: below 0.05 from six pairs on."""
MOST_EXACT = 13
"""Pairs up to which all their sign flips are looked at."""
RESAMPLES = 9999
"""Sign flips that are drawn for more pairs than that."""
MARGIN = 0.5
"""Networks whose difference lies within this many points are called level."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference `first - second` over pairs, in the unit of the values.

    Attributes:
        mean: of the differences.
        low, high: 95 % interval by Student's t; None for a single pair.
        p_value: two-sided sign-flip test; None for a single pair.
        std: standard deviation of the differences, 0 where they are equal up to rounding; None for a single pair.
        pairs: how many.
        differences: of the pairs.
        seeds: of the pairs, or other names of theirs.
        comparisons: that `p_value` is corrected for.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    std: float | None
    pairs: int
    differences: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    comparisons: int = 1

    def verdict(self, *, margin: float = MARGIN, higher_is_better: bool = True) -> str:
        """ "better" or "worse" (of the first), "level" (within the margin), or "unknown".

        Differences that are all equal, as those of few test images may be, say nothing about their spread.
        """
        if self.low is None or self.high is None or self.p_value is None:
            return "unknown"
        if self.p_value <= SIGNIFICANCE and (self.low > 0 or self.high < 0):
            return "better" if (self.mean > 0) == higher_is_better else "worse"
        return "level" if self.std and -margin <= self.low and self.high <= margin else "unknown"


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, seeds: Sequence[int] | None = None
) -> PairedDifference:
    """Compare two lists of values, the i-th of both with the same seed.

    Args:
        first, second: the values.
        seeds: what they were measured with; their positions where it is not given.

    Raises:
        EANError: for lists of different lengths, or empty ones.
    """
    if len(first) != len(second) or not first:
        raise EANError(
            f"a paired comparison needs the same seeds on both sides, got {len(first)} and {len(second)} values"
        )
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    rounding = 1e-9 * max(1.0, float(np.abs([first, second]).max()))
    differences[np.abs(differences) <= rounding] = 0
    mean, pairs = float(differences.mean()), len(differences)
    named = tuple(differences.tolist()), tuple(range(pairs) if seeds is None else seeds)
    if pairs == 1:
        return PairedDifference(mean, None, None, None, None, pairs, *named)
    std = float(differences.std(ddof=1))
    if std <= rounding:  # ttest_1samp divides by it
        std, low, high = 0.0, mean, mean
    else:
        low, high = stats.ttest_1samp(differences, 0).confidence_interval(CONFIDENCE)
    return PairedDifference(mean, float(low), float(high), sign_flip_test(differences), std, pairs, *named)


# -- several comparisons ----------------------------------------------------------------------------------------------


def sign_flip_test(differences: np.ndarray) -> float:
    """Two-sided p-value of a mean of zero; exact up to `MOST_EXACT` pairs, by a fixed draw of sign flips above."""
    return sign_flip_tests(np.asarray(differences, dtype=float)[:, None])[0]


def sign_flip_tests(differences: np.ndarray) -> list[float]:
    """Two-sided p-values of several means of zero, corrected for their number.

    A flip turns the sign of all the differences of a seed, and a mean is compared with the highest of the means that
    are no higher than it, over all flips (the step-down maximum of Westfall and Young, Resampling-based multiple
    testing, 1993). Holm's correction would need more seeds: with six, 2 / 2^6 times two is above 0.05 already.

    Args:
        differences: (N, K) of N seeds and K comparisons; 0 where a comparison lacks a seed.
    """
    means = np.abs(np.concatenate([signs @ differences for signs in _sign_flips(len(differences))]))  # (F, K)
    order = np.argsort(-means[0], kind="stable")
    highest = np.maximum.accumulate(means[:, order[::-1]], axis=1)[:, ::-1]
    p_values = np.empty(differences.shape[1])
    p_values[order] = np.maximum.accumulate((highest >= means[0, order] * (1 - 1e-9)).mean(axis=0))
    return p_values.tolist()


def _sign_flips(count: int) -> Iterator[np.ndarray]:
    """All flips of so many signs (F, N), or a fixed draw in parts; the first leaves all as they are."""
    if count <= MOST_EXACT:
        yield np.array(list(product((1.0, -1.0), repeat=count)))
        return
    rng, left = np.random.default_rng(0), RESAMPLES
    yield np.ones((1, count))
    while left:
        part = min(left, max(1, 1_000_000 // count))  # 8 MB, also for many images
        yield rng.choice((1.0, -1.0), size=(part, count))
        left -= part


def correct_for_comparisons(
    found: Sequence[PairedDifference], scales: Sequence[float] | None = None
) -> list[PairedDifference]:
    """The same comparisons with p-values corrected for their number; single pairs have none and stay as they are.

    Args:
        found: comparisons over seeds. Their `seeds` tell which differences belong together.
        scales: what a difference of each is measured in, such as its margin; alike where it is not given.
    """
    tested = [index for index, one in enumerate(found) if one.p_value is not None]
    if len(tested) < 2:
        return list(found)
    seeds = sorted({seed for index in tested for seed in found[index].seeds})
    differences = np.zeros((len(seeds), len(tested)))
    for column, index in enumerate(tested):
        one = found[index]
        scale = len(one.differences) * (1.0 if scales is None else scales[index])
        for seed, value in zip(one.seeds, one.differences, strict=True):
            differences[seeds.index(seed), column] = value / scale
    corrected = list(found)
    for index, p_value in zip(tested, sign_flip_tests(differences), strict=True):
        corrected[index] = replace(found[index], p_value=p_value, comparisons=len(tested))
    return corrected


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of several tests, so that with 0.05 all of them together err once in twenty studies.

    The k-th smallest of m is multiplied by m - k + 1, and is no smaller than the one before (Holm, A simple
    sequentially rejective multiple test procedure, 1979).
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


# -- how many seeds ---------------------------------------------------------------------------------------------------

MOST_SEEDS = 1000
"""Where `seeds_needed` stops counting."""
SIGN_FLIP_EFFECTS = {6: 1.8, 7: 1.35, 8: 1.21, 9: 1.1}
"""Pairs -> the true difference, in standard deviations, that the sign-flip test finds in four of five studies (by
simulation); from ten pairs on, Student's test needs as much."""


def seeds_needed(std: float, *, difference: float = MARGIN, comparisons: int = 1, most: int = MOST_SEEDS) -> int:
    """Pairs with which a true difference is called better or worse in four of five studies (power 0.8), or more.

    Args:
        std: standard deviation of the paired differences.
        difference: that is to be shown, in the same unit.
        comparisons: that p-values are corrected for.
        most: where to stop counting.
    """
    pairs = np.arange(FEWEST_SEEDS, most)
    probabilities = np.array([[1 - SIGNIFICANCE / comparisons / 2], [POWER]])
    student = stats.t.ppf(probabilities, pairs - 1).sum(axis=0) / np.sqrt(pairs)
    sign_flips = [SIGN_FLIP_EFFECTS.get(number, 0.0) for number in pairs.tolist()]
    enough = pairs[np.maximum(student, sign_flips) * std <= difference]
    return int(enough[0]) if len(enough) else most


def std_interval(std: float, pairs: int) -> tuple[float, float]:
    """95 % interval of a standard deviation that was estimated from so many normal values."""
    squares = (pairs - 1) * std**2
    quantiles = stats.chi2.ppf([(1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2], pairs - 1)
    low, high = np.sqrt(squares / quantiles).tolist()
    return low, high


# -- images -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairedImages:
    """Two networks on the same test images.

    Attributes:
        only_first, only_second: images that one network classifies correctly and the other does not.
        both: images that both classify correctly.
        images: how many in all.
        p_value: McNemar's exact test.
        comparisons: that `p_value` is corrected for.
    """

    only_first: int
    only_second: int
    both: int
    images: int
    p_value: float
    comparisons: int = 1

    @property
    def mean(self) -> float:
        """Difference of the accuracies, in points."""
        return 100 * (self.only_first - self.only_second) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of the difference, in points; see `proportions_interval`."""
        return proportions_interval(self.only_first, self.only_second, self.images)


def paired_images(first: np.ndarray, second: np.ndarray) -> PairedImages:
    """McNemar's test on boolean arrays (N,): whether each image was classified correctly.

    Raises:
        EANError: for arrays of different lengths, or empty ones.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if first.shape != second.shape or not first.size:
        raise EANError(f"networks are compared on the same images, got {first.size} and {second.size} results")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    p_value = float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return PairedImages(only_first, only_second, int((first & second).sum()), first.size, p_value)


def proportions_interval(only_first: int, only_second: int, images: int) -> tuple[float, float]:
    """95 % interval of the difference of two proportions of the same images, in points.

    Half an image is added to each cell of the table of pairs (Agresti and Min, Simple improved confidence intervals for
    comparing matched proportions, 2005, https://doi.org/10.1002/sim.1781), so that it has a width even where no image
    differs.

    Args:
        only_first, only_second: images with one of the two results and not the other.
        images: how many in all.
    """
    total, more, less = images + 2, only_first + 0.5, only_second + 0.5
    center = (more - less) / total
    half = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(more + less - total * center**2) / total
    return 100 * (center - half), 100 * (center + half)


def compare_groups(groups: Sequence[Sequence[float]], others: Sequence[float]) -> dict[str, Any]:
    """Test means of groups whose values depend on each other, such as draws of one search, against independent values.

    The units are the groups: Welch's statistic of their means and the others, with one degree of freedom less than
    there are groups. Its usual number would trust a variance that was estimated from very few means.

    Returns:
        "difference" of the means (the groups' minus the others'), "wins" (the probability that a value of the groups
        is the higher one; ties count half), "groups" (how many), and "welch_t" and "welch_p"; None for a single group,
        or where all means are equal.
    """
    means, y = np.array([np.mean(group) for group in groups]), np.asarray(others, dtype=float)
    values = np.concatenate([np.asarray(group, dtype=float) for group in groups])
    rank = stats.mannwhitneyu(values, y, alternative="two-sided")
    difference = float(means.mean() - y.mean())
    tests: dict[str, Any] = {
        "difference": round(difference, 4),
        "wins": round(float(rank.statistic) / (len(values) * len(y)), 4),
        "groups": len(means),
        "welch_t": None,
        "welch_p": None,
    }
    if len(means) > 1 and len(y) > 1 and np.ptp(means) > 0:
        t = difference / math.sqrt(means.var(ddof=1) / len(means) + y.var(ddof=1) / len(y))
        tests |= {"welch_t": round(t, 4), "welch_p": float(2 * stats.t.sf(abs(t), len(means) - 1))}
    return tests


def compare_samples(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Welch's t-test and the Mann-Whitney test of two independent samples, both two-sided.

    Returns:
        "difference" of the means (first minus second), "wins" (the probability that a value of the first is the higher
        one; ties count half), and statistic and p of both tests; None where a test is undefined (all values equal, or
        a single value).
    """
    x, y = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    rank = stats.mannwhitneyu(x, y, alternative="two-sided")
    tests: dict[str, Any] = {
        "difference": round(float(x.mean() - y.mean()), 4),
        "wins": round(float(rank.statistic) / (len(x) * len(y)), 4),
        "welch_t": None,
        "welch_p": None,
        "mann_whitney_u": float(rank.statistic),
        "mann_whitney_p": float(rank.pvalue) if np.ptp(np.r_[x, y]) > 0 else None,
    }
    if min(len(x), len(y)) > 1 and (np.ptp(x) > 0 or np.ptp(y) > 0):
        moments = [(values.mean(), values.std(ddof=1), len(values)) for values in (x, y)]
        welch = stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False)
        tests |= {"welch_t": round(float(welch.statistic), 4), "welch_p": float(welch.pvalue)}
    return tests
