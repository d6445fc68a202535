"""A search method that keeps to a time limit (`latency_limit`), for any method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.latency_limit import Limit

COUNTED = 10_000
"""Schemes within a limit are counted up to here, or up to what was scored."""


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
