"""A search method of your own: simulated annealing over the connections.

    python tools/search.py --method examples/own_search_method.py:Annealing
    python tools/search.py --method examples/own_search_method.py:Annealing:cooling=0.9
    python tools/search.py --methods ean random examples/own_search_method.py:Annealing --seeds 3

A method proposes schemes and learns from their trials. It must be a deterministic function of its arguments, its seed
and the trials it was updated with: an interrupted search goes on by telling a fresh method its recorded trials again.
So its random numbers come from `self.rng`, and it saves nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ean_core import EANError, Scheme
from ean_core.search import SearchMethod, Trial


class Annealing(SearchMethod):
    """Flip one connection at a time; a worse scheme is accepted with a probability that falls with every step.

    Kirkpatrick et al., Optimization by Simulated Annealing (https://doi.org/10.1126/science.220.4598.671).

    Args:
        blocks: blocks per stage.
        seed: of the first scheme, the flips and the acceptances.
        temperature: difference in reward, in points, that is accepted with a probability of 1/e in the first step.
        cooling: factor of the temperature after every step.
    """

    def __init__(self, blocks: Sequence[int], *, seed: int, temperature: float = 2.0, cooling: float = 0.95) -> None:
        super().__init__(blocks, seed=seed)
        if temperature <= 0 or not 0 < cooling <= 1:
            raise EANError(f"Annealing needs temperature > 0 and 0 < cooling <= 1, got {temperature} and {cooling}")
        self.temperature, self.cooling = temperature, cooling
        self.current: Trial | None = None

    def propose(self) -> list[Scheme]:
        """A random scheme first, then the current one with one bit flipped."""
        if self.current is None:
            return [Scheme.random(self.blocks, self.rng)]
        bits = list(self.current.scheme.bits)
        flipped = int(self.rng.integers(len(bits)))
        bits[flipped] = 1 - bits[flipped]
        return [Scheme(tuple(bits), self.blocks)]

    def update(self, trials: Sequence[Trial]) -> None:
        """Move to the proposal if it is better, or by chance."""
        (trial,) = trials
        if self.current is None:
            self.current = trial
            return
        worse = self.current.reward - trial.reward
        if worse <= 0 or self.rng.random() < math.exp(-worse / self.temperature):
            self.current = trial
        self.temperature *= self.cooling
