"""Trainings that several processes share: each takes one that no other has taken or finished."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import Target, finished, train_network
from ean_core.training import work_dir
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError


def train_missing(job: Job, targets: Sequence[Target]) -> Iterator[Path]:
    """Train what no process has trained or is training, seed by seed in the targets' order; yields each directory.

    Seed by seed, so that a study that is stopped early has as many networks as it could have. The lock on a training
    ends with the process that holds it.

    Args:
        job: whose seeds each target is trained with; an interrupted training is resumed.
        targets: in the order in which they are taken.

    Raises:
        EANError: under torchrun, if another run that shares nothing is at work in the directory, or as `train_network`.
    """
    refuse_launcher()
    work_dir.lock(job.directory, shared=True)
    job = dataclasses.replace(job, resume=True)
    for seed in job.recipe.seeds:
        for target in targets:
            directory = job.directory / target.directory(seed)
            try:
                with lock_of(job, directory.name).acquire(timeout=0):
                    was_there = finished(directory, job.task)
                    train_network(job, target, seed=seed)  # of one that was there it checks the settings
            except Timeout:
                continue
            if not was_there:
                yield directory


def lock_of(job: Job, name: str) -> FileLock:
    """A lock in the job's directory that one process at a time has; it ends with the process that holds it."""
    folder = job.directory / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{name}.lock")


def refuse_launcher() -> None:
    """Refuse to be one of several processes that train together.

    Raises:
        EANError: if it is.
    """
    if rank_and_world()[1] > 1:
        raise EANError(
            "here each process trains a network of its own, and this one was started as one of several: start it "
            "without torchrun, and write a job list for several processes with --jobs"
        )
