"""A genetic algorithm: NSGA-II (Deb et al., 2002, https://doi.org/10.1109/4235.996017), from the library pymoo.

The paper's Table 4 has a multi-objective evolution; here its two objectives are the accuracy and the sparsity of a
scheme, the first two terms of Eq. 7 without their weights. The weights choose among the schemes seen, at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.utils.errors import EANError

OBJECTIVES = ("front", "reward")


@dataclass(frozen=True)
class GeneticSettings:
    """The evolution.

    Attributes:
        population: schemes kept, and new ones per step; fair bits at the start.
        objectives: "front" (accuracy and sparsity, or time where there is a latency table, for a Pareto front) or
            "reward" (their weighted sum alone, which spends the whole budget on the scheme that is asked for).
        crossover: probability that two parents are mixed, bit by bit, instead of copied.
        mutation: probability of a new scheme's bit to flip; None for 1 / m.
    """

    population: int = 20
    objectives: str = "front"
    crossover: float = 0.9
    mutation: float | None = None

    def __post_init__(self) -> None:
        if self.objectives not in OBJECTIVES:
            raise EANError(f"objectives is one of {', '.join(OBJECTIVES)}, got {self.objectives!r}")
        if self.population < 2:
            raise EANError(f"population must be at least 2, got {self.population}")


class Genetic(SearchMethod):
    """NSGA-II behind the interface of the searches, a generation per step.

    Args:
        blocks: blocks per stage.
        seed: of the first population, the mating and the mutation.
        settings: see `GeneticSettings`.
    """

    stream = "genetic"

    def __init__(self, blocks: Sequence[int], *, seed: int = 0, settings: GeneticSettings | None = None) -> None:
        super().__init__(blocks, seed=seed)
        self.settings = settings or GeneticSettings()
        self.algorithm = _nsga2(sum(blocks), self.settings, self.library_seed())
        self.asked: Any = None

    def propose(self) -> list[Scheme]:
        """The first population or the offspring; it never ends, a fair draw stands in where mating gives nothing."""
        self.asked = self.algorithm.ask()
        if self.asked is None or len(self.asked) == 0:
            self.asked = None
            return [Scheme.random(self.blocks, self.rng)]
        return [Scheme(tuple(bits.tolist()), self.blocks) for bits in self.asked.get("X").astype(int)]

    def update(self, trials: Sequence[Trial]) -> None:
        """Tell pymoo, which minimises."""
        if self.asked is None:
            return
        if self.settings.objectives == "front":
            scores = [(-trial.accuracy, cost_of(trial)) for trial in trials]
        else:
            scores = [(-trial.reward,) for trial in trials]
        self.asked.set("X", np.array([trial.scheme.bits for trial in trials], dtype=bool))  # a limit may have cut some
        self.asked.set("F", np.array(scores))
        self.algorithm.tell(infills=self.asked)


def cost_of(trial: Trial) -> float:
    """What the second objective makes small."""
    return -trial.scheme.sparsity if trial.increment is None else trial.increment


def _nsga2(bits: int, settings: GeneticSettings, seed: int) -> Any:
    """pymoo's algorithm, ready to be asked; imported here since only this method needs the library."""
    try:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.core.termination import NoTermination
        from pymoo.operators.crossover.ux import UniformCrossover
        from pymoo.operators.mutation.bitflip import BitflipMutation
        from pymoo.operators.sampling.rnd import BinaryRandomSampling
    except ImportError:
        raise EANError('the genetic search needs pymoo: pip install -e ".[search]"') from None
    algorithm = NSGA2(
        pop_size=settings.population,
        sampling=BinaryRandomSampling(),
        crossover=UniformCrossover(prob=settings.crossover),
        mutation=BitflipMutation(prob=1.0, prob_var=1 / bits if settings.mutation is None else settings.mutation),
        # In a space not much larger than the population, mating would look for new schemes in vain.
        eliminate_duplicates=bits > 30 or 2**bits > 4 * settings.population,
    )
    problem = Problem(n_var=bits, n_obj=2 if settings.objectives == "front" else 1, xl=0, xu=1, vtype=bool)
    algorithm.setup(problem, termination=NoTermination(), seed=seed)
    return algorithm
