"""What every search method looks like to the driver: it proposes schemes, and hears what they scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ean_core.scheme import Scheme


@dataclass(frozen=True)
class Trial:
    """One proposal and what came of it.

    Attributes:
        scheme: the proposal.
        accuracy: validation accuracy in percent.
        terms: the weighted terms of the reward; their sum is `reward`.
    """

    scheme: Scheme
    accuracy: float
    terms: Mapping[str, float]

    @property
    def reward(self) -> float:
        """Sum of the terms that rank schemes; a method's own bonus is not in it."""
        return float(sum(self.terms.values()))


class SearchMethod(ABC):
    """Base of the methods.

    A method must be a deterministic function of its settings, its seed and the trials it was told of: a search is
    resumed by telling a fresh method its recorded trials again.

    Args:
        blocks: blocks per stage.
        seed: of everything random in the method.
    """

    def __init__(self, blocks: Sequence[int], *, seed: int) -> None:
        self.blocks = tuple(blocks)
        self.rng = np.random.default_rng(seed)

    @abstractmethod
    def propose(self) -> list[Scheme]:
        """The schemes of the next step, at least one."""

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """Reward terms of the method's own (EAN's curiosity), for the record; asked for before `update`."""
        del scheme
        return {}

    @abstractmethod
    def update(self, trials: Sequence[Trial]) -> None:
        """Learn from the step's trials, in the order of the proposals."""

    def probabilities(self) -> np.ndarray | None:
        """Probability of each bit being 1 (m,), for methods that have one."""
        return None

    def most_probable(self) -> Scheme | None:
        """The scheme the method would draw most probably now, for methods that have probabilities."""
        p = self.probabilities()
        return None if p is None else Scheme(tuple((p > 0.5).astype(int).tolist()), self.blocks)
