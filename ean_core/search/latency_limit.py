"""Inference time in the search: as a term of the reward, and as a limit that no scored scheme exceeds.

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
from dataclasses import dataclass, fields

import numpy as np

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.reward import Reward
from ean_core.utils.errors import EANError

ROUNDING = 1e-9
COUNTED = 10_000
"""Schemes within a limit are counted up to here, or up to what was scored."""


@dataclass(frozen=True)
class TimedReward(Reward):
    """Eq. 7 with a term for the predicted time increment.

    Attributes:
        increments: (m,) percent of Org's time that each connection adds.
    """

    increments: tuple[float, ...] = ()

    @classmethod
    def of(cls, reward: Reward, increments: Sequence[float]) -> TimedReward:
        """The same weights, and a table."""
        weights = {one.name: getattr(reward, one.name) for one in fields(Reward)}
        return cls(**weights, increments=tuple(increments))

    def increment(self, scheme: Scheme) -> float:
        """Predicted percent of Org's time that the scheme adds."""
        return float(np.dot(scheme.bits, self.increments))

    def terms(self, scheme: Scheme, accuracy: float) -> dict[str, float]:
        """See `Reward.terms`."""
        terms = self.untimed_terms(scheme, accuracy)
        return {**terms, "latency": -self.latency * self.increment(scheme)} if self.latency else terms


def at_least(percent: float) -> str:
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
                f"connection, block {cheapest + 1}, adds {cost:.2f} %; {at_least(cost)}"
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


class Limited(SearchMethod):
    """A search method that keeps to a limit; the driver sees no difference.

    Args:
        method: fresh, and complete (DARTS has its gradient).
        limit: what every proposal has to keep.

    Attributes:
        repaired: proposals that were above the limit.
    """

    def __init__(self, method: SearchMethod, limit: Limit) -> None:
        self.method, self.limit, self.repaired, self.answer = method, limit, 0, method.answer
        super().__init__(method.blocks, seed=method.seed)
        method.restrict(limit)

    def seed_sequence(self, *key: int) -> np.random.SeedSequence:
        """The method's."""
        return self.method.seed_sequence(*key)

    def propose(self) -> list[Scheme]:
        """The method's, repaired."""
        p, proposed = self.method.probabilities(), self.method.propose()
        self.repaired += sum(not self.limit.allows(scheme) for scheme in proposed)
        return [self.limit.repair(scheme, p) for scheme in proposed]

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """The method's."""
        return self.method.bonus(scheme)

    def update(self, trials: Sequence[Trial]) -> None:
        """The method hears of the schemes that were scored."""
        self.method.update(trials)

    def probabilities(self) -> np.ndarray | None:
        """The method's, which know nothing of the limit."""
        return self.method.probabilities()

    def most_probable(self) -> Scheme | None:
        """The method's; above the limit, its most probable connections."""
        scheme, p = self.method.most_probable(), self.method.probabilities()
        if scheme is None or self.limit.allows(scheme):
            return scheme
        return self.limit.keep(scheme, np.zeros(len(scheme)) if p is None else p)

    def p_hat(self, scheme: Scheme) -> np.ndarray | None:
        """The method's."""
        return self.method.p_hat(scheme)

    def sample(self, count: int, rng: np.random.Generator) -> list[Scheme]:
        """The method's, repaired."""
        p = self.method.probabilities()
        return [self.limit.repair(scheme, p) for scheme in self.method.sample(count, rng)]

    def account(self, *, scored: int, proposals: int) -> str:
        """A sentence on what the limit left to search.

        Args:
            scored: different schemes.
            proposals: in which they came up, some of them more than once.
        """
        most = max(COUNTED, scored) + 1
        there = self.limit.count(most)
        number = f"more than {most - 1:,}" if there == most else f"{there:,}"
        return (
            f"{'all' if scored == there else f'{scored:,} of the'} {number} schemes that are predicted to be at most "
            f"{self.limit.percent:g} % slower than Org were scored; {self.repaired:,} of the {proposals:,} proposals "
            "were slower and lost connections first"
        )
