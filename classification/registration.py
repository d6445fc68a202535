"""What classification registers with `ean_core`. Nothing heavy is imported before a function is called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ean_core.utils.task_registry import TaskEntry, register_loader, register_task

if TYPE_CHECKING:
    from pathlib import Path

    from ean_core.inference.loaded_model import LoadedModel
    from ean_core.pipeline.job import Job
    from ean_core.pipeline.trim.task import TrimTask


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
            model_kind="classifier",
            start_trim=_start_trim,
        )
    )
    register_loader("ean-timm-1", _load_timm)


def _train(argv: Sequence[str]) -> None:
    from classification.train import main

    main(argv)


def _test(argv: Sequence[str]) -> None:
    from classification.test import main

    main(argv)


def _start_job(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    from classification.arguments import job_from_arguments

    return job_from_arguments(arguments, flags)


def _start_trim(model: LoadedModel, arguments: argparse.Namespace) -> TrimTask:
    from classification.trim import start_trim

    return start_trim(model, arguments)


def _load_timm(path: Path, content: dict[str, Any]) -> LoadedModel:
    from ean_core.inference.timm_classifier import load_timm_file

    return load_timm_file(path, content)
