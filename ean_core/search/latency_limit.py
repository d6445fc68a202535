"""A limit on the predicted time: which schemes keep it, and how a scheme that does not is repaired.

How the limit is kept. A proposal above it is repaired before it is scored: its connections are drawn one after the
other with odds p / (1 - p), p the method's own probabilities or a half where it has none, and those that still fit are
kept. The method is then told of the repaired scheme. The other ways were worse: a made-up reward for what was not
scored would need a scale and would fill the record with schemes that nobody measured, and where the limit is tight
nearly every fair draw is above it, so that random search would never propose anything else. Dropping the dearest
first would never try a dear block beside others. The draw depends on the proposal and p alone, so that a resumed search
repairs as the interrupted one did. A family of schemes (HSP, head-k, tail-k) leaves out its members above the limit.
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
    """What to do where the limit is too low: the nearest one that is not, rounded up."""
    return f"give a search.max_increment of at least {math.ceil(100 * percent - ROUNDING) / 100:g}"


class Limit:
    """At most so many percent slower than Org.

    Args:
        increments: (m,) percent of Org's time that each connection adds.
        percent: the limit.

    Raises:
        EANError: if only the network without any connection is fast enough, or not even that; with the nearest
            limit that leaves a choice.
    """

    def __init__(self, increments: Sequence[float], percent: float) -> None:
        self.increments, self.percent = np.asarray(increments, dtype=float), percent
        cheapest = int(np.argmin(self.increments))
        cost = float(self.increments[cheapest])
        if percent < 0:
            raise EANError(f"no scheme is faster than Org, got the limit {percent:g} %: give at least 0")
        if cost > percent + ROUNDING:
            raise EANError(
                f"only the scheme without connections is at most {percent:g} % slower than Org: the cheapest "
                f"connection, block {cheapest + 1}, adds {cost:.2f} %; {limit_advice(cost)}"
            )

    def increment(self, scheme: Scheme) -> float:
        """Predicted percent of Org's time that the scheme adds."""
        return float(np.dot(scheme.bits, self.increments))

    def allows(self, scheme: Scheme) -> bool:
        """Whether it is fast enough."""
        return self.increment(scheme) <= self.percent + ROUNDING

    def count(self, most: int) -> int:
        """How many different schemes are fast enough, or `most` if there are at least as many."""
        costs = np.sort(np.abs(self.increments))  # of a connection that saves time, leaving it out costs as much
        room = self.percent + ROUNDING - np.minimum(self.increments, 0).sum()
        found, waiting = 0, [(0, room)]  # each is a scheme: the first cost it could still add, and the time it has left
        while waiting and found < most:
            first, left = waiting.pop()
            found += 1
            fitting = int(np.searchsorted(costs, left, side="right"))
            waiting += [(place + 1, left - costs[place]) for place in range(first, fitting)]
        return found

    def repair(self, scheme: Scheme, p: np.ndarray | None) -> Scheme:
        """The scheme, less connections that are drawn from the unlikelier ones, until it is fast enough.

        Args:
            scheme: any.
            p: (m,) the method's probability of each connection; None for a half.
        """
        if self.allows(scheme):
            return scheme
        seed = int.from_bytes(hashlib.sha256(scheme.text.encode()).digest()[:8], "big")
        chances = np.clip(np.full(len(scheme), 0.5) if p is None else p, 1e-6, 1 - 1e-6)
        # Sorting by log odds plus Gumbel noise is drawing one after the other without replacement (Gumbel-top-k).
        noise = np.random.default_rng(seed).gumbel(size=len(scheme))
        return self.keep(scheme, np.log(chances) - np.log1p(-chances) + noise)

    def keep(self, scheme: Scheme, worth: np.ndarray) -> Scheme:
        """The scheme's connections from the highest worth (m,) down, as far as each still fits."""
        bits = np.array(scheme.bits) * (self.increments <= 0)  # what is measured at no cost stays
        for index in np.argsort(-worth, kind="stable"):
            after = bits @ self.increments + self.increments[index]
            if scheme.bits[index] and not bits[index] and after <= self.percent + ROUNDING:
                bits[index] = 1
        return Scheme(tuple(bits.tolist()), scheme.blocks)
