"""A limit on the predicted time: which schemes respect it, and how to repair one that does not.

A proposal above the limit is repaired before it is scored: its connections are drawn one by one without replacement
with odds p / (1 - p), where p are the method's own probabilities or one half, and those that still fit are kept. The
method is then updated with the repaired scheme. The alternatives are worse: a penalty instead of a score would need a
scale and fill the record with schemes that nobody scored, and under a tight limit random search would propose nothing
else. Dropping the most expensive connections first would never combine an expensive block with others. The repair
depends on the proposal and p alone, so that a resumed search repeats it. A family of schemes (HSP, head-k, tail-k)
drops its members above the limit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError

ROUNDING = 1e-9


def limit_advice(percent: float) -> str:
    """Advice for a limit that is too low: the lowest one that is not, rounded up."""
    return f"give a search.max_increment of at least {math.ceil(100 * percent - ROUNDING) / 100:g}"


class Limit:
    """An upper bound on the predicted time increment over Org.

    Args:
        increments: (m,) percent of Org's time that each connection adds.
        percent: the limit, in percent of Org's time.

    Raises:
        EANError: if at most the network without connections is fast enough; the message names the lowest limit that
            allows another.
    """

    def __init__(self, increments: Sequence[float], percent: float) -> None:
        self.increments, self.percent = np.asarray(increments, dtype=float), percent
        cheapest = int(np.argmin(self.increments))
        cost = float(self.increments[cheapest])
        if percent < 0:
            raise EANError(f"the limit must be at least 0 %, since no scheme is faster than Org, got {percent:g} %")
        if cost > percent + ROUNDING:
            raise EANError(
                f"only the scheme without connections is at most {percent:g} % slower than Org: the cheapest "
                f"connection, block {cheapest + 1}, adds {cost:.2f} %; {limit_advice(cost)}"
            )

    def increment(self, scheme: Scheme) -> float:
        """Predicted percent of Org's time that the scheme adds."""
        return float(np.dot(scheme.bits, self.increments))

    def allows(self, scheme: Scheme) -> bool:
        """Whether the scheme respects the limit."""
        return self.increment(scheme) <= self.percent + ROUNDING

    def count(self, bound: int) -> int:
        """Number of distinct schemes that respect the limit, counted up to `bound`."""
        costs = np.sort(np.abs(self.increments))  # leaving out a connection that saves time costs as much
        budget = self.percent + ROUNDING - np.minimum(self.increments, 0).sum()
        count, pending = 0, [(0, budget)]  # per scheme: the next cost it could add, and its time left
        while pending and count < bound:
            start, budget_left = pending.pop()
            count += 1
            fitting = int(np.searchsorted(costs, budget_left, side="right"))
            pending += [(index + 1, budget_left - costs[index]) for index in range(start, fitting)]
        return count

    def repair(self, scheme: Scheme, p: np.ndarray | None) -> Scheme:
        """The scheme with connections removed, preferably improbable ones, until it respects the limit.

        Args:
            scheme: any scheme of the network.
            p: (m,) the method's probability of each connection; None for one half.
        """
        if self.allows(scheme):
            return scheme
        seed = int.from_bytes(hashlib.sha256(scheme.text.encode()).digest()[:8], "big")
        chances = np.clip(np.full(len(scheme), 0.5) if p is None else p, 1e-6, 1 - 1e-6)
        # Sorting by log odds plus Gumbel noise draws without replacement (Gumbel-top-k).
        noise = np.random.default_rng(seed).gumbel(size=len(scheme))
        return self.keep(scheme, np.log(chances) - np.log1p(-chances) + noise)

    def keep(self, scheme: Scheme, worth: np.ndarray) -> Scheme:
        """Keep the scheme's connections in descending order of worth (m,), skipping those that no longer fit."""
        bits = np.array(scheme.bits) * (self.increments <= 0)  # connections measured to cost nothing always stay
        for index in np.argsort(-worth, kind="stable"):
            after = bits @ self.increments + self.increments[index]
            if scheme.bits[index] and not bits[index] and after <= self.percent + ROUNDING:
                bits[index] = 1
        return Scheme(tuple(bits.tolist()), scheme.blocks)
