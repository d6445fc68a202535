"""Synthetic rewards with a known best scheme, to compare searches without any training.

A landscape is a quadratic function of the bits, in percentage points of accuracy, optionally with the noise of a
validation set. Its best scheme is found exactly: exhaustively for up to 16 bits, by integer programming for more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod
from ean_core.search.driver import run_search
from ean_core.search.history import History, HistoryLine
from ean_core.search.reward import Reward
from ean_core.search.smoothing import best_smoothed
from ean_core.utils.errors import EANError, unknown_name

KINDS: dict[str, str] = {
    "additive": "independent effects of the blocks, standard deviation 0.35 points, no noise",
    "pairs": "additive, and a tenth of the pairs of blocks interact, standard deviation 0.12 points",
    "noise": "pairs, and every score is off by a validation set's error, standard deviation 0.3 points",
    "sparse": "pairs and noise, and a sixth of the blocks helps (about 0.6 points) while the others hurt (0.15)",
    "rugged": "small effects (0.2), a fifth of the pairs interacts strongly (0.25), and noise",
}
"""Kinds of landscape, with what they are made of."""

PATIENCE = 1.5
"""Maximum proposals per evaluation: a search whose probabilities have converged only proposes known schemes."""


@dataclass(frozen=True)
class Landscape:
    """accuracy(a) = base + linear . a + a^T pairs a + error(a), in percent.

    Attributes:
        blocks: blocks per stage.
        linear: (m,) effect of each connection, points.
        pairs: (m, m) strictly upper triangular, effect of two connections together, points.
        noise: standard deviation of the error of a score, points. A scheme's error is always the same, since a
            validation set is fixed: scoring a scheme twice gives the same score.
        seed: of the errors.
        base: accuracy without any connection, percent.
    """

    blocks: tuple[int, ...]
    linear: np.ndarray
    pairs: np.ndarray
    noise: float = 0.0
    seed: int = 0
    base: float = 70.0

    def accuracy(self, bits: np.ndarray) -> np.ndarray:
        """Bits (N, m) -> accuracy without error, in percent, (N,)."""
        bits = np.asarray(bits, dtype=float)
        return self.base + bits @ self.linear + np.einsum("ni,ij,nj->n", bits, self.pairs, bits, optimize=True)

    def evaluate(self, schemes: Sequence[Scheme]) -> list[float]:
        """The scores that a search gets: with error, rounded to 0.01 points as if from 10,000 validation images."""
        true = self.accuracy(np.array([scheme.bits for scheme in schemes]))
        return [
            round(float(value) + self.noise * self._error(scheme), 2)
            for value, scheme in zip(true, schemes, strict=True)
        ]

    def reward(self, scheme: Scheme, weights: Reward) -> float:
        """The true reward of a scheme, in points."""
        return sum(weights.terms(scheme, float(self.accuracy(np.array([scheme.bits]))[0])).values())

    def best(self, weights: Reward) -> Scheme:
        """The scheme with the highest true reward."""
        linear = weights.accuracy * self.linear - weights.sparsity / len(self.linear)
        solve = _best_exhaustively if len(linear) <= 16 else _best_by_integer_programming
        return Scheme(tuple(solve(linear, weights.accuracy * self.pairs).tolist()), self.blocks)

    def _error(self, scheme: Scheme) -> float:
        """A standard normal number determined by the scheme and the seed."""
        digest = hashlib.sha256(f"{self.seed}:{scheme.text}".encode()).digest()
        return float(np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal())


def make_landscape(kind: str, blocks: Sequence[int], *, seed: int) -> Landscape:
    """Draw a random landscape of a given kind.

    Args:
        kind: a key of `KINDS`.
        blocks: blocks per stage.
        seed: of the effects and the errors.

    Raises:
        EANError: for an unknown kind.
    """
    if kind not in KINDS:
        raise unknown_name("landscape", kind, list(KINDS))
    rng, bits = np.random.default_rng(seed), sum(blocks)
    linear = rng.normal(0.0, 0.35, bits)
    pairs = np.triu(rng.normal(0.0, 0.12, (bits, bits)) * (rng.random((bits, bits)) < 0.1), k=1)
    if kind == "rugged":
        linear = rng.normal(0.0, 0.2, bits)
        pairs = np.triu(rng.normal(0.0, 0.25, (bits, bits)) * (rng.random((bits, bits)) < 0.2), k=1)
    if kind == "sparse":
        helps = rng.permutation(bits) < max(1, round(bits / 6))
        linear = np.where(helps, rng.normal(0.6, 0.15, bits), rng.normal(-0.15, 0.1, bits))
    return Landscape(
        blocks=tuple(blocks),
        linear=linear,
        pairs=np.zeros_like(pairs) if kind == "additive" else pairs,
        noise=0.3 if kind in ("noise", "sparse", "rugged") else 0.0,
        seed=seed,
    )


# -- searching a landscape --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RegretRun:
    """Regrets of a search: the best scheme's true reward minus that of the search's answers, in points.

    Attributes:
        best: regret, at each checkpoint, of the scheme with the highest reward seen, error included.
        most_probable: the same of the most probable scheme at that point; None without probabilities.
        smoothed: the same of the best scheme after smoothing out evaluation noise (`smoothing.py`).
        evaluations: number of distinct schemes scored.
        proposals: number of schemes proposed, repetitions included.
    """

    best: list[float]
    most_probable: list[float] | None
    smoothed: list[float]
    evaluations: int
    proposals: int


def measure_regret(
    build: Callable[[], SearchMethod], landscape: Landscape, reward: Reward, *, checkpoints: Sequence[int]
) -> RegretRun:
    """Search a landscape with as many evaluations as the last checkpoint.

    Args:
        build: makes a fresh method, identical at every call.
        landscape: scores schemes, and knows the best one.
        reward: Eq. 7.
        checkpoints: increasing numbers of evaluations at which regret is measured.
    """
    budget, method = checkpoints[-1], build()
    highest = landscape.reward(landscape.best(reward), reward)
    scored: list[tuple[Scheme, float]] = []  # in order of evaluation, with the observed reward
    probable: dict[int, float] = {}  # evaluations so far -> regret of the most probable scheme

    def evaluate(schemes: Sequence[Scheme]) -> list[float]:
        accuracies = landscape.evaluate(schemes)
        pairs = zip(schemes, accuracies, strict=True)
        scored.extend((scheme, sum(reward.terms(scheme, accuracy).values())) for scheme, accuracy in pairs)
        return accuracies

    def on_step(step: int, lines: Sequence[HistoryLine], *, replayed: bool) -> None:
        scheme = method.most_probable()
        if scheme is not None:
            probable[lines[-1].evaluations] = highest - landscape.reward(scheme, reward)

    result = run_search(
        method,
        evaluate,
        steps=int(np.ceil(PATIENCE * budget / len(build().propose()))),
        reward=reward,
        history=History(None),
        max_evaluations=budget,
        on_step=on_step,
    )
    tops = [max(scored[:count], key=lambda pair: pair[1])[0] for count in checkpoints]
    texts, rewards = [scheme.text for scheme, _ in scored], [reward_seen for _, reward_seen in scored]
    smoothed = [scored[best_smoothed(texts[:count], rewards[:count])[0]][0] for count in checkpoints]
    return RegretRun(
        best=[highest - landscape.reward(top, reward) for top in tops],
        most_probable=[_last_by(probable, count) for count in checkpoints] if probable else None,
        smoothed=[highest - landscape.reward(scheme, reward) for scheme in smoothed],
        evaluations=result.evaluations,
        proposals=result.proposals,
    )


def _last_by(regrets: dict[int, float], count: int) -> float:
    """The value at the largest key up to `count`; the first value if the first step already exceeds it."""
    return regrets[max((key for key in regrets if key <= count), default=min(regrets))]


# -- the best scheme --------------------------------------------------------------------------------------------------


def _best_exhaustively(linear: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The bits (m,) that maximize linear . a + a^T pairs a, by exhaustive search."""
    bits = (np.arange(2 ** len(linear))[:, None] >> np.arange(len(linear))) & 1  # (2^m, m)
    return bits[np.argmax(bits @ linear + ((bits @ pairs) * bits).sum(axis=1))]


def _best_by_integer_programming(linear: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The same with a variable y per product a_i a_j, where y <= a_i, y <= a_j and y >= a_i + a_j - 1."""
    bits, (first, second) = len(linear), np.nonzero(pairs)
    count = len(first)
    y, ones = bits + np.arange(count), np.ones(count)
    rows = [(y, ones, first, -ones), (y, ones, second, -ones)]  # y - a_i <= 0, y - a_j <= 0
    upper_bounds = [
        csr_array((np.r_[a, b], (np.r_[0:count, 0:count], np.r_[i, j])), (count, bits + count)) for i, a, j, b in rows
    ]
    lower_bound = csr_array(
        (np.r_[ones, ones, -ones], (np.r_[0:count, 0:count, 0:count], np.r_[first, second, y])), (count, bits + count)
    )
    result = milp(
        -np.r_[linear, pairs[first, second]],
        integrality=np.r_[np.ones(bits), np.zeros(count)],
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(matrix, ub=bound)
            for matrix, bound in [(upper_bounds[0], 0), (upper_bounds[1], 0), (lower_bound, 1)]
            if count
        ],
        options={"mip_rel_gap": 0.0},
    )
    if not result.success:
        raise EANError(f"the best scheme of this landscape was not found: {result.message}")
    return np.round(result.x[:bits]).astype(int)
