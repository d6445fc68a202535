"""A task's run: what is done, where it is kept, and how it is resumed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from ean_core.pipeline.recipe import Recipe, SearchRecipe
from ean_core.pipeline.task import Task, TrainingRun
from ean_core.training.step_timing import Pace
from ean_core.training.work_dir import WorkDir
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.own_code import code_of
from ean_core.utils.text import how_many

PARTS = ("supernet", "search", "network", "comparison", "correlation")
"""What the claims on parts of a work directory call them."""


@dataclass(frozen=True)
class Job:
    """A task and the directory that its run writes to.

    Attributes:
        task: with its recipe and its data.
        directory: the work directory.
        launcher: as `start_processes` returned it.
        resume: continue what the directory holds.
        backends: further MMEngine visualization backends.
    """

    task: Task
    directory: Path
    launcher: str = "none"
    resume: bool = False
    backends: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe of the job's task."""
        return self.task.recipe

    @property
    def supernet(self) -> Any:
        """The recipe's supernet section, whose fields are the task's.

        Raises:
            EANError: if supernet or search is missing.
        """
        self._require_search()
        return self.recipe.supernet

    @property
    def search(self) -> SearchRecipe:
        """The recipe's search section.

        Raises:
            EANError: if supernet or search is missing.
        """
        self._require_search()
        assert self.recipe.search is not None
        return self.recipe.search

    def _require_search(self) -> None:
        if self.recipe.supernet is None or self.recipe.search is None:
            raise EANError(
                f"recipe {self.recipe.name!r} has no supernet and search sections: it is for retraining only"
            )

    def replace_recipe(self, **sections: Any) -> Job:
        """The same run with other sections of the recipe; not another data section, since the data is read."""
        return dataclasses.replace(self, task=self.task.with_recipe(self.recipe.replace(**sections)))

    def training_run(
        self,
        name: str,
        *,
        section: str,
        directory: Path,
        output: Path,
        identity: Mapping[str, Any],
        seed: int,
        on_pace: Callable[[Pace], None] | None = None,
    ) -> TrainingRun:
        """A training in this job; see `TrainingRun` for the arguments."""
        # Networks stand side by side in one summary, so that they must share all but their connections and seeds.
        shared: dict[str, Any] = {}
        if section == "train":
            shared = {name: value for name, value in identity.items() if name not in ("part", "seed", "own_code")}
            shared |= code_of(self.recipe.model.attention)
            names = ("arch", "attention", "attention_options")
            shared["model"] = {name: getattr(self.recipe.model, name) for name in names}
        how = (self.launcher, self.resume, self.backends, self.work_dir(settings=shared), on_pace)
        return TrainingRun(name, section, directory, output, identity, seed, *how)

    def work_dir(self, **how: Any) -> WorkDir:
        """The directory, for a claim on a part of it; `how` as `WorkDir` takes it."""
        return WorkDir(self.directory, self.task.name, PARTS, **how)

    def describe(self) -> str:
        """One line: network, attention, data, and where it runs."""
        model = self.recipe.model
        return (
            f"{model.arch} with {model.attention}, {self.task.describe()}, on {get_device().upper()}, "
            f"{how_many(rank_and_world()[1], 'process')}, work directory {self.directory}"
        )

    def record_kind(self, kind: str) -> str:
        """The kind of a record; other tasks have kinds of their own, as the paper's tables are of top-1 accuracies."""
        return kind if self.task.metrics[0].key == "top1" else f"task-{kind}"

    def record_settings(self) -> dict[str, Any]:
        """What every record of a run says of it: the recipe and the data."""
        dataset = self.task.dataset()
        return {
            "recipe": self.recipe.to_dict(),
            "data": {**dataset.fingerprint, "note": dataset.note},
            "task": self.task.name,
            "metrics": [dataclasses.asdict(metric) for metric in self.task.metrics],
            "score": dataclasses.asdict(self.task.score),
        }
