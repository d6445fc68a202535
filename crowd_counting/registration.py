"""What crowd counting registers with `ean_core`. Nothing heavy is imported before a function is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ean_core.utils.tasks import TaskEntry, register_loader, register_task

if TYPE_CHECKING:
    from ean_core.inference.loaded_model import LoadedModel


def register() -> None:
    """Make the task and its files known to the commands; the entry point in setup.cfg."""
    register_task(
        TaskEntry(
            name="crowd_counting",
            configs="crowd_counting/configs",
            recognizes=_recognizes,
            train=_train,
            test_hint="python crowd_counting/test.py CHECKPOINT --part A",
        )
    )
    register_loader("ean-counter-1", _load_counter)


def _recognizes(config: Mapping[str, Any]) -> bool:
    """Whether it is not another task's: classification's data has a name, and mmsegmentation's model has a type."""
    named, typed = "name" in config.get("data", {}), "type" in config.get("model", {})
    return not (named or typed or "train_dataloader" in config)


def _train(argv: Sequence[str]) -> None:
    from crowd_counting.train import main

    main(argv)


def _load_counter(path: Path, content: dict[str, Any]) -> LoadedModel:
    from crowd_counting.loaded_model import load_counter

    return load_counter(path, content)
