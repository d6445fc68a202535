"""Random search: independent fair bits, never the same scheme twice until none is left."""

from __future__ import annotations

from collections.abc import Sequence

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.utils.errors import EANError


class RandomSearch(SearchMethod):
    """The baseline at equal budget.

    Args:
        blocks: blocks per stage.
        seed: of the draws.
        schemes_per_step: schemes proposed per step.
    """

    stream = "random"

    def __init__(self, blocks: Sequence[int], *, seed: int = 0, schemes_per_step: int = 1) -> None:
        super().__init__(blocks, seed=seed)
        if schemes_per_step < 1:
            raise EANError(f"schemes_per_step must be at least 1, got {schemes_per_step}")
        self.schemes_per_step = schemes_per_step
        self.seen: set[str] = set()

    def propose(self) -> list[Scheme]:
        """Fair bits, drawn again while the scheme was proposed before and others are left."""
        return [self._fresh() for _ in range(self.schemes_per_step)]

    def update(self, trials: Sequence[Trial]) -> None:
        """Nothing to learn."""

    def _fresh(self) -> Scheme:
        scheme = Scheme.random(self.blocks, self.rng)
        while scheme.text in self.seen and len(self.seen) < 2 ** len(scheme):
            scheme = Scheme.random(self.blocks, self.rng)
        self.seen.add(scheme.text)
        return scheme
