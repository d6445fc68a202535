"""HSP, the heuristic of Table 4 of Efficient Attention Network (https://arxiv.org/abs/2011.14058).

It connects every N-th block: the table lists 1010.., 0101.., 100100.. and 010010... Nothing is searched; all schemes of
a family of periods and offsets are scored, and the best is returned.
"""

from __future__ import annotations

from collections.abc import Sequence

from ean_core.scheme import Scheme
from ean_core.search.heuristics import Family
from ean_core.utils.errors import EANError

PERIODS = range(2, 7)
"""Periods tried by default: every second to every sixth block."""


class HSP(Family):
    """Periodic schemes, every N-th block connected.

    Args:
        blocks: blocks per stage; the period is counted over the whole network, not anew in each stage.
        period: N, 1 to m; None tries those of `PERIODS` up to m.
        offset: the first connected block, 0 to `period` - 1; None tries all.
        seed: unused, nothing here is random.
    """

    def __init__(
        self, blocks: Sequence[int], *, period: int | None = None, offset: int | None = None, seed: int = 0
    ) -> None:
        m = sum(blocks)
        if period is None and offset is not None:
            raise EANError(f"HSP got the offset {offset} without a period: give both, or only the period")
        if period is not None and not 1 <= period <= m:
            raise EANError(f"the period of HSP must be from 1 to {m} for this network, got {period}")
        periods = [candidate for candidate in PERIODS if candidate <= m] or [m] if period is None else [period]
        family = [
            Scheme.periodic(blocks, period=candidate, offset=first)
            for candidate in periods
            for first in (range(candidate) if offset is None else [offset])
        ]
        super().__init__(blocks, family, seed=seed)
