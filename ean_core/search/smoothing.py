"""The best scheme after smoothing: of many noisy rewards the highest belongs to a lucky scheme, not to the best one.

A Gaussian process over schemes takes out what a reward owes to chance. Its prior correlation of two schemes that differ
in d bits is rho^d: with rho near 1 the reward is nearly additive in the blocks, with a smaller one all orders of
interaction count. rho and the noise are those under which the rewards are likeliest (restricted likelihood: Patterson
and Thompson, 1971, https://doi.org/10.1093/biomet/58.3.545; Gaussian processes: Rasmussen and Williams, 2006), so that
nobody has to know the noise; where there is none, the smoothed rewards are the rewards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CORRELATIONS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""rho that are tried."""

NOISES = np.geomspace(1e-4, 10, 26)
"""Variances of the noise that are tried, in units of the function's."""

MOST = 1000
"""Schemes that are smoothed, the latest: the work grows with the cube of their number, to seconds here."""


def smooth(bits: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """The posterior means of the rewards without noise, (N,).

    Args:
        bits: (N, m), all different.
        rewards: (N,), in points.
    """
    count = len(rewards)
    if count < 3 or np.ptp(rewards) == 0:
        return np.array(rewards, dtype=float)
    bits = np.asarray(bits, dtype=float)
    distances = bits @ (1 - bits).T + (1 - bits) @ bits.T  # Hamming's
    best, found = -np.inf, np.array(rewards, dtype=float)
    for rho in CORRELATIONS:
        values, vectors = np.linalg.eigh(rho**distances)
        one, turned = vectors.sum(axis=0), vectors.T @ rewards
        variances = np.clip(values, 0, None) + NOISES[:, None]  # (noises, N): everything is diagonal here
        means = (one * turned / variances).sum(axis=1) / (one**2 / variances).sum(axis=1)  # the constant, fitted
        rest = turned - means[:, None] * one
        scale = (rest**2 / variances).sum(axis=1) / (count - 1)
        likelihood = -(
            (count - 1) * np.log(scale) + np.log(variances).sum(axis=1) + np.log((one**2 / variances).sum(axis=1))
        )
        if likelihood.max() > best:
            place = int(likelihood.argmax())
            best = float(likelihood[place])
            found = rewards - NOISES[place] * (vectors @ (rest[place] / variances[place]))
    return found


def best_smoothed(texts: Sequence[str], rewards: Sequence[float]) -> int:
    """The place of the scheme with the highest smoothed reward; among equals the one with fewest connections.

    Args:
        texts: bits of different schemes, without separators, in the order in which they were scored.
        rewards: one each.
    """
    first = max(0, len(texts) - MOST)
    bits = np.array([list(map(int, text)) for text in texts[first:]])
    smoothed = smooth(bits, np.array(rewards[first:], dtype=float))
    return first + max(range(len(smoothed)), key=lambda place: (smoothed[place], -bits[place].sum()))
