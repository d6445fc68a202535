"""What classification registers with `ean_core`. Nothing heavy is imported before a function is called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ean_core.utils.task_registry import TaskEntry, register_task

if TYPE_CHECKING:
    from ean_core.pipeline.job import Job


def register() -> None:
    """Make the task known to the commands; the entry point in setup.cfg."""
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
