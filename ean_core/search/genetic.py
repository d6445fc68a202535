"""A genetic algorithm: NSGA-II (Deb et al., 2002, https://doi.org/10.1109/4235.996017), from the library pymoo.

The paper's Table 4 lists a multi-objective evolution. Here the two objectives are the accuracy and the sparsity of a
scheme, the first two terms of Eq. 7 without their weights; the weights choose among the scored schemes at the end.
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
    """Hyperparameters of the evolution.

    Attributes:
        population: number of schemes kept, and of new ones per step; the first are uniform.
        objectives: "front" (accuracy and sparsity, or time where there is a latency table, for a Pareto front) or
            "reward" (only their weighted sum, which spends the whole budget on one optimum).
        crossover: probability that two parents are mixed bit by bit instead of copied.
        mutation: probability that a bit of a new scheme flips; None for 1 / m.
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
    """NSGA-II as a search method, one generation per step.

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
        self.offspring: Any = None

    def propose(self) -> list[Scheme]:
        """The first population or the next offspring; a uniform scheme where mating yields nothing new."""
        self.offspring = self.algorithm.ask()
        if self.offspring is None or len(self.offspring) == 0:
            self.offspring = None
            return [Scheme.random(self.blocks, self.rng)]
        return [Scheme(tuple(bits.tolist()), self.blocks) for bits in self.offspring.get("X").astype(int)]

    def update(self, trials: Sequence[Trial]) -> None:
        """Pass the negated objectives to pymoo, which minimizes."""
        if self.offspring is None:
            return
        if self.settings.objectives == "front":
            scores = [(-trial.accuracy, cost_of(trial)) for trial in trials]
        else:
            scores = [(-trial.reward,) for trial in trials]
        # Not the proposed bits: a latency limit may have removed connections.
        self.offspring.set("X", np.array([trial.scheme.bits for trial in trials], dtype=bool))
        self.offspring.set("F", np.array(scores))
        self.algorithm.tell(infills=self.offspring)


def cost_of(trial: Trial) -> float:
    """The second objective, minimized: the time increment or, without a latency table, the negative sparsity."""
    return -trial.scheme.sparsity if trial.increment is None else trial.increment


def _nsga2(bits: int, settings: GeneticSettings, seed: int) -> Any:
    """pymoo's algorithm, set up for `ask`; imported here since only this method needs the library."""
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
        # In a space not much larger than the population, mating would fail to find new schemes.
        eliminate_duplicates=bits > 30 or 2**bits > 4 * settings.population,
    )
    problem = Problem(n_var=bits, n_obj=2 if settings.objectives == "front" else 1, xl=0, xu=1, vtype=bool)
    algorithm.setup(problem, termination=NoTermination(), seed=seed)
    return algorithm
