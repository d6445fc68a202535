"""`--dry-run` of a segmentation run: the time of a few steps, and of all of them."""

from __future__ import annotations

import tempfile
from copy import deepcopy

from ean_core.pipeline.dry_run import BEGIN, describe_pace, refuse_processes, where_kept
from ean_core.pipeline.estimate import describe_total
from ean_core.training.runner import QuietRunner
from ean_core.training.step_timing import Pace, StepsTimed, TimeSteps, stop_when_timed
from ean_core.utils.screen import say
from segmentation.job import Job


def dry_run(job: Job) -> None:
    """Time a few training steps in a temporary folder, and print what the run takes."""
    refuse_processes()
    say(BEGIN)
    part = describe_pace("segmentor", time_steps(job))
    say(
        f"estimate: {describe_total([part], epochs=['train_cfg.max_iters'])}",
        where_kept(job.directory, resume=job.resume),
    )


def time_steps(job: Job) -> Pace:
    """The pace of the training."""
    config = deepcopy(job.config)
    with tempfile.TemporaryDirectory(prefix="ean-dry-run-") as folder:
        config.work_dir = folder
        runner = QuietRunner.from_cfg(config)
        runner.register_hook(TimeSteps(stop_when_timed))
        try:
            runner.train()
        except StepsTimed as timed:
            return timed.pace
    return Pace(0.0, config.train_cfg.max_iters)
