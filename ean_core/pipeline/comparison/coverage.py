"""What an earlier comparison in the work directory covers, so that none is replaced by one that holds less."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ean_core.io.records import read_record
from ean_core.pipeline.comparison.compare import Comparison
from ean_core.pipeline.job import Job
from ean_core.training.work_dir import check_same
from ean_core.utils.checked_dataclasses import Count, checked
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many

_ANOTHER = "or another --work-dir"


@dataclass(frozen=True)
class SearchOf:
    """What the searches of a comparison were rewarded for."""

    reward: Mapping[str, Any]
    max_increment: float | None = None


@dataclass(frozen=True)
class RecipeOf:
    """The recipe of a comparison."""

    search: SearchOf


@dataclass(frozen=True)
class Coverage:
    """The settings of a comparison's record that say what it covers."""

    methods: Mapping[str, Mapping[str, Any]]
    seeds: Count
    budget: Mapping[str, Count]
    recipe: RecipeOf
    exhaustive: bool = False


def check_coverage(path: Path, comparison: Comparison, job: Job) -> None:
    """Make sure that a comparison holds at least what the record at its place does.

    Args:
        path: of the record; a missing or damaged one loses nothing.
        comparison: which will replace it.
        job: with the reward.

    Raises:
        EANError: if it would lose a method, a seed or a part of the budget, or if the searches have another reward.
    """
    try:
        earlier = checked(Coverage, read_record(path)["settings"], where=str(path), advice="")
    except EANError:
        return
    reward = {"reward": dataclasses.asdict(job.search.reward), "max_increment": job.search.max_increment}
    check_same(dataclasses.asdict(earlier.recipe.search), reward, what=f"{path} compares searches with")
    methods = dict.fromkeys([*earlier.methods, *(entry.label for entry in comparison.entries)])
    if len(methods) > len(comparison.entries) or earlier.seeds > comparison.seeds:
        raise EANError(
            f"{path} compares {', '.join(earlier.methods)} with {how_many(earlier.seeds, 'seed')} each: to add to it, "
            f"give --methods {' '.join(methods)} --seeds {max(earlier.seeds, comparison.seeds)}, {_ANOTHER}"
        )
    for name, value in dataclasses.asdict(comparison.budget).items():
        if (before := earlier.budget.get(name, 0)) > value:
            raise EANError(
                f"{path} compares searches with {before} {name}, and this run has {value}: give as many, {_ANOTHER}"
            )
    if earlier.exhaustive and not comparison.scores_every_scheme(job.task.blocks()):
        raise EANError(f"{path} holds the scores of all schemes: give --exhaustive, {_ANOTHER}")
