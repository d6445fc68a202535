"""Figures with their 95 % intervals: bootstraps, correlations of scores, and what those correlations can be at most.

Correlations have Fisher's intervals, and means over seeds Student's. All resampling goes through
`scipy.stats.bootstrap` with percentile intervals. SciPy draws its resamples from the generator as
`rng.integers(n, size=(resamples, n))`, so that one seed gives one interval.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import scipy  # scipy.stats takes a second to import, and loads at its first use

from ean_core.utils.errors import EANError

FEWEST_PAIRS = 4
"""Pairs that a correlation needs here: with three, most resamples hold fewer than three different pairs."""

FEWEST_FOR_INTERVAL = 10
"""Pairs from which on a correlation gets an interval: percentiles over resamples of fewer are far too narrow."""

FEWEST_ROUNDS = 5
"""Values from which on a median gets an interval: that of all of five values holds it in 94 %, of three in 75 %."""

Statistic = Callable[..., np.ndarray]
"""Called with one array (..., N) per sample and `axis=-1`; reduces that axis."""


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval, in the unit of the figure; NaN where nothing varies."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the distance between the two ends."""
        return (self.high - self.low) / 2

    def contains(self, value: float) -> bool:
        """Whether a value lies between the two ends, or on one of them."""
        return self.low <= value <= self.high

    def scaled(self, factor: float) -> Interval:
        """The interval in another unit: 100 turns fractions into percent. The factor must be positive."""
        return Interval(factor * self.value, factor * self.low, factor * self.high)

    def to_record(self) -> dict[str, float | None]:
        """For a JSON file, which knows no NaN: None stands for it."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}


# -- bootstraps -------------------------------------------------------------------------------------------------------


def bootstrap(statistic: Statistic, *samples: Sequence[float], resamples: int = 2000, seed: int = 0) -> Interval:
    """A statistic of one or several paired samples, with the 2.5 and 97.5 % points over resamples.

    Args:
        statistic: reduces arrays (..., N) along `axis=-1`, such as `np.median`. Resamples that it gives NaN for are
            left out.
        samples: N values each; the i-th values of all samples are drawn together.
        resamples: draws of N with replacement.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        an interval of no width for a single value, and one of NaN if no resample has a statistic.
    """
    (interval,) = bootstrap_each(
        lambda *arrays, axis: statistic(*arrays, axis=axis)[None], *samples, resamples=resamples, seed=seed
    )
    return interval


def bootstrap_each(
    statistic: Statistic, *samples: np.ndarray | Sequence[float], resamples: int = 2000, seed: int = 0
) -> list[Interval]:
    """As `bootstrap`, for a statistic that has several values: (..., N) to (K, ...), an interval for each of the K."""
    arrays = [np.asarray(sample, dtype=float) for sample in samples]
    values = statistic(*arrays, axis=-1)  # (K,)
    if arrays[0].shape[-1] < 2:
        return [Interval(float(value), float(value), float(value)) for value in values]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # of resamples without a statistic
        result = scipy.stats.bootstrap(
            arrays,
            statistic,
            n_resamples=resamples,
            paired=len(arrays) > 1,
            vectorized=True,
            axis=-1,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    intervals = []
    for value, drawn in zip(values, result.bootstrap_distribution, strict=True):
        drawn = drawn[np.isfinite(drawn)]
        low, high = np.percentile(drawn, (2.5, 97.5)) if len(drawn) else (np.nan, np.nan)
        intervals.append(Interval(float(value), float(low), float(high)))
    return intervals


def bootstrap_median(values: Sequence[float]) -> Interval:
    """A median and its bootstrap interval, with ends of NaN for fewer than `FEWEST_ROUNDS` values."""
    interval = bootstrap(np.median, values)
    return interval if len(values) >= FEWEST_ROUNDS else Interval(interval.value, np.nan, np.nan)


def student_interval(mean: float, std: float | None, count: int, *, lowest: float = -np.inf) -> Interval:
    """A mean with its 95 % interval by Student's t.

    Over three values, such as seeds, a percentile bootstrap ends at the lowest and the highest of them, and holds the
    true mean in 75 %.

    Args:
        mean, std: of so many values, `std` with one degree of freedom less.
        count: how many. The ends are NaN for a single one, or if all are equal: their spread is not known then.
        lowest: that the true mean can be.
    """
    if count < 2 or not std:
        return Interval(mean, np.nan, np.nan)
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * std / count**0.5
    return Interval(mean, max(lowest, mean - half), mean + half)


# -- correlations -----------------------------------------------------------------------------------------------------


def pearson(x: np.ndarray, y: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """Pearson's r along an axis of x and y (..., N), (...); NaN where x or y is constant up to rounding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=scipy.stats.ConstantInputWarning)
        warnings.simplefilter("ignore", category=scipy.stats.NearConstantInputWarning)
        r = np.asarray(scipy.stats.pearsonr(x, y, axis=axis).statistic)
    # SciPy gives a number for what differs by rounding errors only: the correlation of those errors.
    squares = np.var(x, axis=axis) * np.var(y, axis=axis)
    return np.where(np.sqrt(squares) * np.shape(x)[axis] > 1e-12, r, np.nan)


def spearman(x: np.ndarray, y: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """Spearman's rho along an axis of x and y (..., N): Pearson's r of the ranks, ties at their mean rank.

    `scipy.stats.spearmanr` takes several rows for variables of one matrix.
    """
    rank = scipy.stats.rankdata
    return pearson(rank(x, axis=axis), rank(y, axis=axis), axis=axis)


def kendall(x: np.ndarray, y: np.ndarray, *, axis: int = -1) -> np.ndarray:
    """Kendall's tau-b along an axis of x and y (..., N): concordant minus discordant pairs, corrected for ties.

    `scipy.stats.kendalltau` would loop over thousands of resamples in Python.
    """
    x, y = (np.moveaxis(values, axis, -1) for values in (x, y))
    concordant, untied_x, untied_y = np.zeros((3, *x.shape[:-1]))
    for index in range(x.shape[-1]):  # all pairs at once would take N times the memory
        dx, dy = (np.sign(values - values[..., index, None]) for values in (x, y))
        concordant += (dx * dy).sum(axis=-1)
        untied_x += (dx**2).sum(axis=-1)
        untied_y += (dy**2).sum(axis=-1)
    pairs = np.sqrt(untied_x * untied_y)
    return np.divide(concordant, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


COEFFICIENTS: dict[str, Statistic] = {"pearson": pearson, "spearman": spearman, "kendall": kendall}
"""Pearson's r, Spearman's rho, Kendall's tau-b."""


def correlations(x: Sequence[float], y: Sequence[float]) -> dict[str, Interval]:
    """All coefficients of the pairs (x_i, y_i), with the intervals of `fisher_interval`.

    Args:
        x, y: N values each, at least `FEWEST_PAIRS`.

    Returns:
        by name of the coefficient; with ends of NaN for fewer than `FEWEST_FOR_INTERVAL` pairs.

    Raises:
        EANError: for fewer than `FEWEST_PAIRS` pairs, or different lengths.
    """
    check_pairs(x, y)
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    return {name: fisher_interval(name, float(f(x, y)), len(x)) for name, f in COEFFICIENTS.items()}


def fisher_interval(name: str, value: float, pairs: int) -> Interval:
    """The 95 % interval of a coefficient by Fisher's z, its inverse hyperbolic tangent, which is nearly normal.

    A percentile bootstrap of 14 pairs holds Pearson's r in 88 %. The variances of z are Fisher's for Pearson's r,
    Bonett and Wright's for Spearman's rho (Psychometrika 2000), and that of Fieller, Hartley and Pearson for Kendall's
    tau (Biometrika 1957); those of the ranks are approximations.

    Args:
        name: of `COEFFICIENTS`.
        value: of the coefficient; NaN where nothing varies.
        pairs: that it is of; the ends are NaN for fewer than `FEWEST_FOR_INTERVAL`.
    """
    if pairs < FEWEST_FOR_INTERVAL or np.isnan(value):
        return Interval(value, np.nan, np.nan)
    variances = {
        "pearson": 1 / (pairs - 3),
        "spearman": (1 + value**2 / 2) / (pairs - 3),
        "kendall": 0.437 / (pairs - 4),
    }
    half = float(scipy.stats.norm.ppf(0.975)) * variances[name] ** 0.5
    with np.errstate(divide="ignore"):  # of exactly 1, which has no other end
        z = np.arctanh(np.clip(value, -1, 1))
    return Interval(value, float(np.tanh(z - half)), float(np.tanh(z + half)))


def bootstrap_pairs(statistic: Statistic, *samples: Sequence[float], resamples: int, seed: int) -> Interval:
    """As `bootstrap`; with ends of NaN for fewer than `FEWEST_FOR_INTERVAL` pairs."""
    interval = bootstrap(statistic, *samples, resamples=resamples, seed=seed)
    return interval if len(samples[0]) >= FEWEST_FOR_INTERVAL else Interval(interval.value, np.nan, np.nan)


def correlation_differences(
    x: Sequence[float], other: Sequence[float], y: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """How much better x correlates with y than `other` does, from the same resamples; raises as `correlations`.

    Two separate intervals that overlap would hide a difference that is there in nearly every resample.
    """
    check_pairs(x, y)
    check_pairs(other, y)

    def difference_of(coefficient: Statistic) -> Statistic:
        return lambda x, other, y, axis: coefficient(x, y, axis=axis) - coefficient(other, y, axis=axis)

    return {
        name: bootstrap_pairs(difference_of(f), x, other, y, resamples=resamples, seed=seed)
        for name, f in COEFFICIENTS.items()
    }


def for_record(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    """The intervals as records hold them, see `Interval.to_record`."""
    return {name: interval.to_record() for name, interval in intervals.items()}


def check_pairs(x: Sequence[float], y: Sequence[float]) -> None:
    """Refuse what is too short for a correlation, or is not paired.

    Raises:
        EANError: with both lengths.
    """
    if len(x) != len(y) or len(x) < FEWEST_PAIRS:
        raise EANError(
            f"a correlation needs at least {FEWEST_PAIRS} pairs of values, got {len(x)} and {len(y)} values: train more"
        )


# -- measurement errors -----------------------------------------------------------------------------------------------


def binomial_error(percent: float, images: int) -> float:
    """Standard error, in points, of an accuracy in percent that was measured on so many images."""
    return float(np.sqrt(percent * (100.0 - percent) / images))


def proportion_interval(percent: float, *, images: int) -> tuple[float, float]:
    """The 95 % interval of a percentage of images, by Wilson's score (E. B. Wilson, JASA 1927); in percent."""
    found = scipy.stats.binomtest(round(percent / 100 * images), images).proportion_ci(0.95, method="wilson")
    return 100 * float(found.low), 100 * float(found.high)


def spread_against_error(scores: Sequence[float], *, images: int) -> dict[str, float | None]:
    """How far scores lie apart, and how far chance alone would move each of them.

    Args:
        scores: accuracies in percent, of different schemes on the same images.
        images: how many images.

    Returns:
        in points: "deviation" of the scores, their "range", the binomial "standard_error" of a single score. That
        error is of another draw of the images; schemes scored on the same images share much of it, so that it does not
        tell how much of their deviation is chance.
    """
    values = np.asarray(scores, dtype=float)
    error = binomial_error(float(values.mean()), images)
    variance = float(values.var(ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": float(values.mean()),
        "deviation": float(np.sqrt(variance)),
        "range": float(values.max() - values.min()),
        "standard_error": error,
    }


def repeat_error(repeats: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation of a single value of a group, pooled over groups of repeats; None if nothing was repeated."""
    groups = [np.asarray(group, dtype=float) for group in repeats if len(group) > 1]
    degrees = sum(len(group) - 1 for group in groups)
    if not degrees:
        return None
    return float(np.sqrt(sum(((group - group.mean()) ** 2).sum() for group in groups) / degrees))


def ceiling(repeats: Sequence[Sequence[float]]) -> Interval | None:
    """The Pearson's r that a score without error would have with the groups' means, which are themselves uncertain.

    Its square is the means' reliability: the part of their variance that repeating does not explain, by the intraclass
    correlation of an analysis of variance with random groups. A correlation measured with few or noisy repeats is
    that much lower than the correlation of true values (Spearman 1904, attenuation).

    The interval is a jackknife over the groups with Student's t, of the logarithm of the means' variance over what
    repeating explains of it (Arvesen and Schmitz 1970, Robust procedures for variance component problems using the
    jackknife). In simulated studies of twelve groups of two, whose true values are normal, uniform, exponential or of
    Student's t with five degrees of freedom, it holds the truth in 91 to 98 %; a percentile bootstrap in 80 to 97 %,
    and BCa in 64 to 93 %.

    Args:
        repeats: values of each group, at least `FEWEST_PAIRS` groups; groups of one take the others' deviation.

    Returns:
        0 to 1, with the interval 0 to 1 where so little was repeated that it cannot be told; NaN where all means are
        equal; None if nothing was repeated.
    """
    if repeat_error(repeats) is None or len(repeats) < FEWEST_PAIRS:
        return None
    n, means = len(repeats), np.array([np.mean(group) for group in repeats])
    if means.var() <= 1e-12:  # equal up to rounding
        return Interval(np.nan, np.nan, np.nan)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_ratio, *without_each = _log_variance_ratios(repeats, means)
        t = scipy.stats.t.ppf(0.975, n - 1)
        half = float(t * (n - 1) / np.sqrt(n) * np.std(without_each, ddof=1))
        low, high = (log_ratio - half, log_ratio + half) if np.isfinite(half) else (-np.inf, np.inf)
        return Interval(*(float(np.sqrt(np.clip(1 - np.exp(-x), 0, 1))) for x in (log_ratio, low, high)))


def _log_variance_ratios(repeats: Sequence[Sequence[float]], means: np.ndarray) -> np.ndarray:
    """Logarithm of the means' variance over what repeating explains of it: of all groups, then without each (1 + N)."""

    def sums(terms: np.ndarray) -> np.ndarray:
        return terms.sum() - np.concatenate([[0], terms])

    n, counts = len(repeats), np.array([len(group) for group in repeats])
    within = np.array([np.sum((np.asarray(group) - mean) ** 2) for group, mean in zip(repeats, means, strict=True)])
    between, groups = (means - means.mean()) ** 2, sums(np.ones(n))
    squares = sums(between)
    squares[1:] -= between / (n - 1)  # without a group, the mean of the means is a different one
    explained = sums(within) / sums(counts - 1) * sums(1 / counts) / groups
    return np.log(squares / (groups - 1) / explained)
