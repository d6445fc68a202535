"""Training a study's schemes from scratch, in any number of processes.

Each training is taken by one of them, under a lock that ends with its process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from ean_core.io.records import read_record
from ean_core.pipeline.correlation.study import Study
from ean_core.pipeline.retrain import finished, train_network


def train_remaining(study: Study) -> Iterator[Path]:
    """Train what no process has trained or is training, seed by seed in the schemes' order; yields each directory.

    Seed by seed, so that a study that is stopped early has as many schemes as it could have.
    """
    job = dataclasses.replace(study.job, resume=True)
    for seed in job.recipe.seeds:
        for scheme in study.schemes:
            directory = study.training_directory(scheme, seed)
            if finished(directory, job.task):
                continue
            try:
                with study.lock(directory.name).acquire(timeout=0):
                    if finished(directory, job.task):  # by another process, since we looked
                        continue
                    train_network(job, study.target(scheme), seed=seed)
            except Timeout:
                continue
            yield directory


def read_test_results(study: Study) -> list[list[float]]:
    """The task's first metric of each scheme, one value per finished seed, in the schemes' order.

    Raises:
        EANError: if a network that exists was trained with other settings.
    """
    key = study.job.task.metrics[0].key
    results = []
    for scheme in study.schemes:
        directories = [
            train_network(study.job, study.target(scheme), seed=seed)  # only checks its settings: it is finished
            for seed in study.job.recipe.seeds
            if finished(study.training_directory(scheme, seed), study.job.task)
        ]
        results.append([float(read_record(path / "result.json")["metrics"][key]) for path in directories])
    return results
