"""The best scheme after smoothing out evaluation noise: the highest of many noisy rewards is usually a lucky one.

A Gaussian process over schemes estimates the rewards without noise. Its prior correlation of two schemes that differ in
d bits is rho^d: with rho near 1 the reward is nearly additive in the blocks, with a smaller rho all orders of
interaction matter. rho and the noise variance maximize the restricted likelihood of the rewards (Patterson and
Thompson, 1971, https://doi.org/10.1093/biomet/58.3.545; Gaussian processes: Rasmussen and Williams, 2006), so that the
noise need not be known. Without noise, the smoothed rewards equal the rewards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CORRELATIONS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Candidate values of rho."""

NOISES = np.geomspace(1e-4, 10, 26)
"""Candidate noise variances, relative to the variance of the noiseless function."""

MAX_SCHEMES = 1000
"""Only the latest schemes are smoothed: the work is cubic in their number, and takes seconds for this many."""


def smooth(bits: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """Posterior means of the noiseless rewards, (N,).

    Args:
        bits: (N, m), distinct rows.
        rewards: (N,), in points.
    """
    count = len(rewards)
    if count < 3 or np.ptp(rewards) == 0:
        return np.array(rewards, dtype=float)
    bits = np.asarray(bits, dtype=float)
    distances = bits @ (1 - bits).T + (1 - bits) @ bits.T  # Hamming
    best, smoothed = -np.inf, np.array(rewards, dtype=float)
    for rho in CORRELATIONS:
        values, vectors = np.linalg.eigh(rho**distances)
        constant, projected = vectors.sum(axis=0), vectors.T @ rewards
        variances = np.clip(values, 0, None) + NOISES[:, None]  # (noises, N): the covariance is diagonal in this basis
        means = (constant * projected / variances).sum(axis=1) / (constant**2 / variances).sum(
            axis=1
        )  # of the fitted constant
        residuals = projected - means[:, None] * constant
        scale = (residuals**2 / variances).sum(axis=1) / (count - 1)
        likelihood = -(
            (count - 1) * np.log(scale) + np.log(variances).sum(axis=1) + np.log((constant**2 / variances).sum(axis=1))
        )
        if likelihood.max() > best:
            index = int(likelihood.argmax())
            best = float(likelihood[index])
            smoothed = rewards - NOISES[index] * (vectors @ (residuals[index] / variances[index]))
    return smoothed


def best_smoothed(texts: Sequence[str], rewards: Sequence[float]) -> tuple[int, float]:
    """The index of the scheme with the highest smoothed reward, and that reward; ties go to the fewest connections.

    Args:
        texts: bits of distinct schemes without separators, in the order in which they were scored.
        rewards: one per scheme, in points.
    """
    first = max(0, len(texts) - MAX_SCHEMES)
    bits = np.array([list(map(int, text)) for text in texts[first:]])
    smoothed = smooth(bits, np.array(rewards[first:], dtype=float))
    best = max(range(len(smoothed)), key=lambda index: (smoothed[index], -bits[index].sum()))
    return first + best, float(smoothed[best])
