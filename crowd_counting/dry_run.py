"""`--dry-run` of a counting run: the time of a few steps, and of all of them."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import torch

from crowd_counting.fit import make_runner
from crowd_counting.job import Job
from ean_core.pipeline.dry_run import BEGIN, describe_pace, refuse_processes, where_kept
from ean_core.pipeline.estimate import describe_parts
from ean_core.training.step_timing import Pace, StepsTimed, TimeSteps, stop_when_timed
from ean_core.utils.screen import say


def dry_run(job: Job) -> None:
    """Time a few training steps in a temporary folder, and print what the run takes."""
    refuse_processes()
    say(BEGIN)
    pace = time_counter(job, seed=job.seeds[0])
    part = describe_pace("counter", pace, count=len(job.seeds))
    say(describe_parts([part], epochs=["train.epochs"]), where_kept(job.directory))


def time_counter(job: Job, *, seed: int) -> Pace:
    """The pace of the training."""
    torch.manual_seed(seed)
    counter, loader = job.counter(), job.train_loader(seed=seed)
    with tempfile.TemporaryDirectory(prefix="ean-dry-run-") as folder:
        fresh = dataclasses.replace(job, resume=False)
        hooks = [TimeSteps(stop_when_timed)]
        runner = make_runner(fresh, counter, loader, seed=seed, directory=Path(folder), hooks=hooks)
        try:
            runner.train()
        except StepsTimed as timed:
            return timed.pace
    return Pace(0.0, len(loader))
