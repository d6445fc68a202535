"""Random search: independent fair bits, without repetition until all schemes have been proposed."""

from __future__ import annotations

from collections.abc import Sequence

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.utils.errors import EANError


class RandomSearch(SearchMethod):
    """Uniform sampling of schemes, the baseline of Table 4.

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
        self.proposed: set[str] = set()

    def propose(self) -> list[Scheme]:
        """Uniform schemes that were not proposed before, as long as there are any."""
        return [self._draw_new() for _ in range(self.schemes_per_step)]

    def update(self, trials: Sequence[Trial]) -> None:
        """Random search does not learn from trials."""

    def _draw_new(self) -> Scheme:
        scheme = Scheme.random(self.blocks, self.rng)
        while scheme.text in self.proposed and len(self.proposed) < 2 ** len(scheme):
            scheme = Scheme.random(self.blocks, self.rng)
        self.proposed.add(scheme.text)
        return scheme
