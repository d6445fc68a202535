"""Training a study's schemes from scratch, in any number of processes, and reading what they gave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ean_core.pipeline.correlation.study import Study
from ean_core.pipeline.retrain import finished, read_result, train_network
from ean_core.pipeline.shared_trainings import train_missing


def train_remaining(study: Study) -> Iterator[Path]:
    """Train what no process has trained or is training; see `train_missing`."""
    return train_missing(study.job, [study.target(scheme) for scheme in study.schemes])


def finished_seeds(study: Study) -> list[list[int]]:
    """The seeds that each scheme is trained with already, in the schemes' order."""
    seeds, task = study.job.recipe.seeds, study.job.task
    return [
        [seed for seed in seeds if finished(study.training_directory(scheme, seed), task)] for scheme in study.schemes
    ]


def read_test_results(study: Study) -> list[list[float]]:
    """The task's first metric of each scheme, one value per finished seed, in the schemes' order.

    Raises:
        EANError: if a network that exists was trained with other settings.
    """
    key = study.job.task.metrics[0].key
    results = []
    for scheme, seeds in zip(study.schemes, finished_seeds(study), strict=True):
        # only checks its settings: it is finished
        directories = [train_network(study.job, study.target(scheme), seed=seed) for seed in seeds]
        results.append([read_result(path / "result.json", study.job.task).metrics[key] for path in directories])
    return results
