"""Register segmentation with `ean_core`. Heavy modules are imported only when a function is called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ean_core.utils.task_registry import TaskEntry, register_loader, register_task
from segmentation import FORMAT

if TYPE_CHECKING:
    from ean_core.inference.loaded_model import LoadedModel
    from ean_core.pipeline.job import Job
    from ean_core.pipeline.trim.task import TrimTask


def register() -> None:
    """Register the task and the loader of its files; called through the entry point in setup.cfg."""
    register_task(
        TaskEntry(
            name="segmentation",
            configs="segmentation/configs",
            # Its configs are mmsegmentation's, and the model of such a config has a type.
            recognizes=lambda config: "train_dataloader" in config or "type" in config.get("model", {}),
            train=_train,
            test=_test,
            start_job=_start_job,
            share_full=_share_full,
            load_with_config=_load_with_config,
            predict="segmentation/predict.py",
            model_kind="segmentor",
            start_trim=_start_trim,
        )
    )
    register_loader(FORMAT, _ask_for_config)


def _train(argv: Sequence[str]) -> None:
    from segmentation.train import main

    main(argv)


def _test(argv: Sequence[str]) -> None:
    from segmentation.test import main

    main(argv)


def _start_job(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from segmentation.search_job import job_from_arguments

    return job_from_arguments(arguments, flags)


def _share_full(config: str) -> Any:
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from segmentation.benchmark import share_full

    return share_full(config)


def _load_with_config(path: Path, config: Path) -> LoadedModel:
    from segmentation.loaded_segmentor import load_segmentor

    return load_segmentor(path, config)


def _ask_for_config(path: Path, content: dict[str, Any]) -> LoadedModel:
    from segmentation.loaded_segmentor import ask_for_config

    return ask_for_config(path, content)


def _start_trim(model: LoadedModel, arguments: argparse.Namespace) -> TrimTask:
    from segmentation.trim import start_trim

    return start_trim(model, arguments)
