"""Is one better than another? Paired comparisons of networks, and of two independent samples.

Networks trained with the same seeds are compared seed by seed: Student's t interval of the mean difference, and the
exact sign-flip test, which assumes nothing about how the differences are distributed. A bootstrap over three to six
seeds would give intervals that are too narrow. With one seed each, two networks are compared image by image
(McNemar's test), which says something about these two networks and nothing about what they were built from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from ean_core.utils.errors import EANError

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
POWER = 0.8
FEWEST_SEEDS = 6
"""With n pairs the sign-flip test gives p = 2 / 2^n at least: below 0.05 from six pairs on."""
RESAMPLES = 9999
MARGIN = 0.5
"""Networks whose difference lies within this many points are called level."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean difference `first - second` over pairs, in the unit of the values.

    Attributes:
        mean: of the differences.
        low, high: 95 % interval by Student's t; None for a single pair.
        p_value: two-sided sign-flip test; None for a single pair.
        std: standard deviation of the differences; None for a single pair.
        pairs: how many.
    """

    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    std: float | None
    pairs: int

    def verdict(self, *, margin: float = MARGIN, higher_is_better: bool = True) -> str:
        """ "better" or "worse" (of the first), "level" (within the margin), or "unknown".

        Differences that are all equal, as those of few test images may be, say nothing about their spread.
        """
        if self.low is None or self.high is None or self.p_value is None:
            return "unknown"
        if self.p_value <= SIGNIFICANCE and (self.low > 0 or self.high < 0):
            return "better" if (self.mean > 0) == higher_is_better else "worse"
        return "level" if self.std and -margin <= self.low and self.high <= margin else "unknown"


def paired_difference(first: Sequence[float], second: Sequence[float]) -> PairedDifference:
    """Compare two lists of values, the i-th of both with the same seed.

    Raises:
        EANError: for lists of different lengths, or empty ones.
    """
    if len(first) != len(second) or not first:
        raise EANError(
            f"a paired comparison needs the same seeds on both sides, got {len(first)} and {len(second)} values"
        )
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    mean, pairs = float(differences.mean()), len(differences)
    if pairs == 1:
        return PairedDifference(mean, None, None, None, None, pairs)
    std = float(differences.std(ddof=1))
    if std <= 1e-9 * max(1.0, abs(mean)):  # ttest_rel divides by it
        low = high = mean
    else:
        low, high = stats.ttest_rel(first, second).confidence_interval(CONFIDENCE)
    return PairedDifference(mean, float(low), float(high), sign_flip_test(differences), std, pairs)


def sign_flip_test(differences: np.ndarray) -> float:
    """Two-sided p-value of a mean of zero; exact up to 13 pairs, by a fixed draw of sign flips above."""
    if not np.any(differences):
        return 1.0
    result = stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda first, second, axis: np.mean(first - second, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


MOST_SEEDS = 1000
"""Where `seeds_needed` stops counting."""


def seeds_needed(std: float, *, difference: float = MARGIN, most: int = MOST_SEEDS) -> int:
    """Pairs with which a true difference is found significant in four of five studies (power 0.8).

    Args:
        std: standard deviation of the paired differences.
        difference: that is to be shown, in the same unit.
        most: where to stop counting.
    """
    for pairs in range(FEWEST_SEEDS, most):
        quantiles = stats.t.ppf([1 - SIGNIFICANCE / 2, POWER], pairs - 1).sum()
        if quantiles * std / math.sqrt(pairs) <= difference:
            return pairs
    return most


@dataclass(frozen=True)
class PairedImages:
    """Two networks on the same test images.

    Attributes:
        only_first, only_second: images that one network classifies correctly and the other does not.
        both: images that both classify correctly.
        images: how many in all.
        p_value: McNemar's exact test.
    """

    only_first: int
    only_second: int
    both: int
    images: int
    p_value: float

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
