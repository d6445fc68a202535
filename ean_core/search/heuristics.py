"""Fixed families of schemes that need no search: every member is scored once, and the best is returned.

Attention in the first or in the last k blocks; `HSP` (hsp.py) is another family. Published results on other networks
differ on which of the two is better, so a comparison should include both.
"""

from __future__ import annotations

from collections.abc import Sequence

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.latency_limit import Limit, limit_advice
from ean_core.utils.errors import EANError


class Family(SearchMethod):
    """Proposes fixed schemes in the first step, and the best of them from then on, which costs no scoring.

    Args:
        blocks: blocks per stage.
        schemes: the family; repeated members are proposed once.
        seed: unused, nothing here is random.
    """

    def __init__(self, blocks: Sequence[int], schemes: Sequence[Scheme], *, seed: int = 0) -> None:
        super().__init__(blocks, seed=seed)
        self.schemes = list({scheme.text: scheme for scheme in schemes}.values())
        self.best: Trial | None = None

    def restrict(self, limit: Limit) -> None:
        """Drop the members above the limit.

        Raises:
            EANError: if none remains; the message names the lowest limit that allows one.
        """
        allowed = [scheme for scheme in self.schemes if limit.allows(scheme)]
        if not allowed:
            fastest = min(self.schemes, key=limit.increment)
            cost = limit.increment(fastest)
            raise EANError(
                f"none of the {len(self.schemes)} schemes of {type(self).__name__} is at most {limit.percent:g} % "
                f"slower than Org, not even {fastest}, which adds {cost:.2f} %: {limit_advice(cost)}, or another method"
            )
        self.schemes = allowed

    def propose(self) -> list[Scheme]:
        """The whole family in the first step, then its best member."""
        return self.schemes if self.best is None else [self.best.scheme]

    def update(self, trials: Sequence[Trial]) -> None:
        """Keep the best trial; ties go to the fewest connections, as in the driver."""
        candidates = [*trials, self.best] if self.best is not None else trials
        self.best = max(candidates, key=lambda trial: (trial.reward, -trial.scheme.connections))


class HeadK(Family):
    """Attention in the first k blocks of the network.

    Args:
        blocks: blocks per stage.
        k: number of connected blocks, 0 to m; None tries 1 to m.
        seed: unused.
    """

    def __init__(self, blocks: Sequence[int], *, k: int | None = None, seed: int = 0) -> None:
        m = sum(blocks)
        family = [Scheme((1,) * count + (0,) * (m - count), tuple(blocks)) for count in _counts(k, m)]
        super().__init__(blocks, family, seed=seed)


class TailK(Family):
    """Attention in the last k blocks of the network.

    Args:
        blocks: blocks per stage.
        k: number of connected blocks, 0 to m; None tries 1 to m.
        seed: unused.
    """

    def __init__(self, blocks: Sequence[int], *, k: int | None = None, seed: int = 0) -> None:
        m = sum(blocks)
        family = [Scheme((0,) * (m - count) + (1,) * count, tuple(blocks)) for count in _counts(k, m)]
        super().__init__(blocks, family, seed=seed)


def _counts(k: int | None, m: int) -> list[int]:
    if k is None:
        return list(range(1, m + 1))
    if not 0 <= k <= m:
        raise EANError(f"k, the number of connected blocks, must be from 0 to {m} for this network, got {k}")
    return [k]
