"""`--dry-run` of a counting run: the time of a few steps, and of all of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from crowd_counting.fit import BEST, fit_counter
from crowd_counting.job import Job
from ean_core.pipeline.dry_run import BEGIN, describe_pace, refuse_processes, where_kept
from ean_core.pipeline.estimate import describe_total
from ean_core.pipeline.task import TrainingRun
from ean_core.training.step_timing import Pace, StepsTimed, stop_when_timed
from ean_core.utils.screen import say


def dry_run(job: Job, *, seeds: Sequence[int]) -> None:
    """Time a few training steps in a temporary folder, and print what the run takes with all its seeds."""
    refuse_processes()
    say(BEGIN)
    part = describe_pace("counter", time_counter(job, seed=seeds[0]), count=len(seeds))
    say(f"estimate: {describe_total([part], epochs=['train.epochs'])}", where_kept(job.directory, resume=job.resume))


def time_counter(job: Job, *, seed: int) -> Pace:
    """The pace of the training."""
    with tempfile.TemporaryDirectory(prefix="ean-dry-run-") as folder:
        path = Path(folder)
        run = TrainingRun("timed steps", "train", path, path / BEST, {}, seed, job.launcher, on_pace=stop_when_timed)
        try:
            fit_counter(job, run)
        except StepsTimed as timed:
            return timed.pace
    return Pace(0.0, 0)
