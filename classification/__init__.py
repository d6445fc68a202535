"""Image classification as a task of the pipeline: its recipes, its images, and the commands around them.

What every task shares, from supernet to table, is in `ean_core.pipeline`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ean_core.pipeline.job import Job


def register() -> None:
    """Make the task known to the commands; an entry point of setup.cfg."""
    from ean_core.utils.tasks import TaskEntry, register_task

    register_task(
        TaskEntry(
            name="classification",
            configs="classification/configs",
            recognizes=lambda config: "name" in config.get("data", {}),
            train=_train,
            test=_test,
            start_job=_start_job,
        )
    )


def _train(argv: Sequence[str]) -> None:
    from classification.train import main

    main(argv)


def _test(argv: Sequence[str]) -> None:
    from classification.test import main

    main(argv)


def _start_job(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    from classification.arguments import job_from_arguments

    return job_from_arguments(arguments, flags)
