"""Register crowd counting with `ean_core`. Heavy modules are imported only when a function is called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ean_core.utils.task_registry import TaskEntry, register_loader, register_task

if TYPE_CHECKING:
    from ean_core.inference.loaded_model import LoadedModel
    from ean_core.pipeline.job import Job
    from ean_core.pipeline.trim.task import TrimTask


def register() -> None:
    """Register the task and the loader of its files; called through the entry point in setup.cfg."""
    register_task(
        TaskEntry(
            name="crowd_counting",
            configs="crowd_counting/configs",
            recognizes=_recognizes,
            train=_train,
            test_hint="python crowd_counting/test.py CHECKPOINT --part A",
            start_job=_start_job,
            share_full=_share_full,
            predict="crowd_counting/predict.py",
            model_kind="counter",
            start_trim=_start_trim,
        )
    )
    register_loader("ean-counter-1", _load_counter)


def _recognizes(config: Mapping[str, Any]) -> bool:
    """Whether a config is not another task's: classification names its data, and mmsegmentation its model's type."""
    named, typed = "name" in config.get("data", {}), "type" in config.get("model", {})
    return not (named or typed or "train_dataloader" in config)


def _train(argv: Sequence[str]) -> None:
    from crowd_counting.train import main

    main(argv)


def _start_job(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    from crowd_counting.search_job import job_from_arguments

    return job_from_arguments(arguments, flags)


def _share_full(config: str) -> Any:
    from crowd_counting.benchmark import share_full

    return share_full(config)


def _load_counter(path: Path, content: dict[str, Any]) -> LoadedModel:
    from crowd_counting.loaded_counter import load_counter

    return load_counter(path, content)


def _start_trim(model: LoadedModel, arguments: argparse.Namespace) -> TrimTask:
    from crowd_counting.trim import start_trim

    return start_trim(model, arguments)
