"""A wrapper that makes any search method respect a latency limit (`latency_limit.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.latency_limit import Limit

MAX_COUNT = 10_000
"""Schemes within a limit are counted up to this number, or up to the number scored."""


class Limited(SearchMethod):
    """A search method whose proposals respect a limit.

    Args:
        method: fresh and ready to search (DARTS with its gradient).
        limit: that every proposal must respect.

    Attributes:
        repaired: number of proposals that exceeded the limit.
    """

    def __init__(self, method: SearchMethod, limit: Limit) -> None:
        self.method, self.limit, self.repaired, self.answer = method, limit, 0, method.answer
        super().__init__(method.blocks, seed=method.seed)
        method.restrict(limit)

    def seed_sequence(self, *key: int) -> np.random.SeedSequence:
        """The wrapped method's seed sequence, so that the limit changes no draws."""
        return self.method.seed_sequence(*key)

    def propose(self) -> list[Scheme]:
        """The wrapped method's proposals, each repaired to respect the limit."""
        p, proposed = self.method.probabilities(), self.method.propose()
        self.repaired += sum(not self.limit.allows(scheme) for scheme in proposed)
        return [self.limit.repair(scheme, p) for scheme in proposed]

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """The wrapped method's own reward terms."""
        return self.method.bonus(scheme)

    def update(self, trials: Sequence[Trial]) -> None:
        """Update the wrapped method with the schemes that were actually scored."""
        self.method.update(trials)

    def probabilities(self) -> np.ndarray | None:
        """The wrapped method's probabilities, which do not account for the limit."""
        return self.method.probabilities()

    def most_probable(self) -> Scheme | None:
        """The wrapped method's most probable scheme, reduced to its most probable connections if above the limit."""
        scheme, p = self.method.most_probable(), self.method.probabilities()
        if scheme is None or self.limit.allows(scheme):
            return scheme
        return self.limit.keep(scheme, np.zeros(len(scheme)) if p is None else p)

    def p_hat(self, scheme: Scheme) -> np.ndarray | None:
        """The wrapped method's probability of each bit's value in the scheme, (m,); see `SearchMethod.p_hat`."""
        return self.method.p_hat(scheme)

    def sample(self, count: int, rng: np.random.Generator) -> list[Scheme]:
        """The wrapped method's samples, each repaired to respect the limit."""
        p = self.method.probabilities()
        return [self.limit.repair(scheme, p) for scheme in self.method.sample(count, rng)]

    def account(self, *, scored: int, proposals: int) -> str:
        """A sentence on how many schemes the limit allowed, and how many proposals were repaired.

        Args:
            scored: number of distinct schemes scored.
            proposals: number of proposals, repetitions included.
        """
        bound = max(MAX_COUNT, scored) + 1
        allowed = self.limit.count(bound)
        number = f"more than {bound - 1:,}" if allowed == bound else f"{allowed:,}"
        return (
            f"{'all' if scored == allowed else f'{scored:,} of the'} {number} schemes that are predicted to be at most "
            f"{self.limit.percent:g} % slower than Org were scored; {self.repaired:,} of the {proposals:,} proposals "
            "were slower and had connections removed first"
        )
