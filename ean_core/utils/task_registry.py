"""The registry of tasks, through which `ean_core` uses them without importing them by name.

A task is a package with a function that calls `register_task` and, if it has network files of its own,
`register_loader`. The function is an entry point of the group `ean.tasks`; those of the project's three tasks are in
setup.cfg. Installed packages are found through their metadata, and those of a checkout that is not installed through
its setup.cfg. The function must import nothing heavy, since any lookup registers all tasks.
"""

from __future__ import annotations

import argparse
import configparser
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from ean_core.utils.config_path import find_config_file
from ean_core.utils.errors import EANError, first_line, unknown_name
from ean_core.utils.screen import script

GROUP = "ean.tasks"
CHECKOUT = Path(__file__).resolve().parents[2]

Main = Callable[[Sequence[str]], None]
"""A command: takes the arguments after its name, prints, and raises `EANError` for user errors."""

StartJob = Callable[[argparse.Namespace, Mapping[str, Any]], Any]
"""(parsed arguments, recipe fields overridden by other flags) -> `ean_core.pipeline.job.Job`."""

LoadWithConfig = Callable[[Path, Path], Any]
"""(checkpoint, configuration) -> `ean_core.inference.loaded_model.LoadedModel`."""

StartTrim = Callable[[Any, argparse.Namespace], Any]
"""(`LoadedModel` of the task's kind, arguments of tools/trim.py) -> `ean_core.pipeline.trim.task.TrimTask`."""

Loader = Callable[[Path, dict[str, Any]], Any]
"""(path, content of the file) -> `ean_core.inference.loaded_model.LoadedModel`, on the CPU and in eval mode."""


ShareFull = Callable[[str], Any]
"""configuration -> its network with attention at every block and random weights, and the spec that names it."""


@dataclass(frozen=True)
class TaskEntry:
    """What the commands need from a task. Its functions import what they need when called.

    Attributes:
        name: of the package, such as "classification".
        configs: folder of its configurations, for error messages.
        recognizes: whether a configuration, as read by MMEngine, is for this task; exactly one task must recognize a
            valid configuration.
        train: `tools/train.py CONFIG ...`.
        test: `tools/test.py CONFIG CHECKPOINT ...`; None if the task has its own command, named in `test_hint`.
        test_hint: what to run instead.
        start_job: for the search and related studies; None for a task that does not implement
            `ean_core.pipeline.task.Task`.
        share_full: for latency tables of whole models; None for classifiers, which --arch names.
        load_with_config: for checkpoints that need their configuration.
        predict: script that uses its networks on images, after their configuration if they need it.
        model_kind: what `LoadedModel.kind` calls its networks, such as "classifier".
        start_trim: for `tools/trim.py`; None for a task whose networks it cannot trim.
    """

    name: str
    configs: str
    recognizes: Callable[[Mapping[str, Any]], bool]
    train: Main
    test: Main | None = None
    test_hint: str = ""
    start_job: StartJob | None = None
    share_full: ShareFull | None = None
    load_with_config: LoadWithConfig | None = None
    predict: str = "tools/predict.py"
    model_kind: str = ""
    start_trim: StartTrim | None = None

    def predict_words(self, checkpoint: object, *, config: object = None, options: Sequence[str] = ()) -> list[object]:
        """The command that uses a network on a photo, for `ean_core.utils.screen.say_next`.

        Args:
            checkpoint: of the network.
            config, options: the configuration, and what --cfg-options replaces in it, where the network needs them.
        """
        if self.load_with_config is None:
            return [*script(self.predict), checkpoint, "PHOTO.jpg"]
        replaced = ["--cfg-options", *options] if options else []
        return [*script(self.predict), config, checkpoint, "PHOTO.jpg", *replaced]


_TASKS: dict[str, TaskEntry] = {}
_LOADERS: dict[str, Loader] = {}


def register_task(entry: TaskEntry) -> None:
    """Register a task for the commands, replacing one of the same name."""
    _TASKS[entry.name] = entry


def register_loader(file_format: str, loader: Loader) -> None:
    """Register a loader of network files for `ean_core.load`, Grad-CAM and export.

    Args:
        file_format: the file's field "format", such as "ean-counter-1".
        loader: builds the model from the file's content.
    """
    _LOADERS[file_format] = loader


def all_tasks() -> dict[str, TaskEntry]:
    """All tasks by name, sorted."""
    _register_entry_points()
    return dict(sorted(_TASKS.items()))


def get_task(name: str) -> TaskEntry:
    """A task by name.

    Raises:
        EANError: if there is none of that name.
    """
    tasks = all_tasks()
    if name not in tasks:
        raise unknown_name("task", name, list(tasks))
    return tasks[name]


def task_of_kind(kind: str) -> TaskEntry:
    """The task whose networks are of this kind.

    Raises:
        EANError: if there is none, or its networks cannot be trimmed.
    """
    task = next((task for task in all_tasks().values() if task.model_kind == kind), None)
    if task is None or task.start_trim is None:
        raise EANError(f"a {kind} cannot be trimmed: its task gives no images to judge it by")
    return task


def get_loader(file_format: str) -> Loader | None:
    """The loader of network files of this format; None if there is none."""
    _register_entry_points()
    return _LOADERS.get(file_format)


def file_formats() -> list[str]:
    """The formats of network files that there are loaders for."""
    _register_entry_points()
    return sorted(_LOADERS)


def task_of_config(path: str | Path) -> TaskEntry:
    """The task that a configuration file is for.

    Raises:
        EANError: if the file is missing, cannot be read, or is not for any task.
    """
    from ean_core.utils.recipe_file import read_recipe_file  # MMEngine takes a second to import

    tasks = all_tasks()
    file = find_config_file(path, folders=[task.configs for task in tasks.values()])
    try:
        config = read_recipe_file(file, import_custom_modules=False)
    except EANError:
        raise
    except Exception as error:  # a config is a program, and can raise anything
        raise EANError(f"{path} cannot be read as a config ({type(error).__name__}: {first_line(error)})") from None
    for task in tasks.values():
        if task.recognizes(config):
            return task
    examples = ", ".join(f"{task.configs}/" for task in tasks.values())
    raise EANError(f"{path} is not a configuration for any of {', '.join(tasks)}: see the examples in {examples}")


@cache
def _register_entry_points() -> None:
    """Register every task, once.

    Raises:
        EANError: if a task cannot be imported.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    for name, point in {**_declared_in_checkout(), **installed}.items():
        try:
            register = point.load()
        except (ImportError, AttributeError) as error:
            raise EANError(
                f"task {name!r} ({point.value}) cannot be imported ({first_line(error)}): reinstall or uninstall "
                "its package"
            ) from None
        register()


def _declared_in_checkout() -> dict[str, EntryPoint]:
    """The entry points in the checkout's setup.cfg, for a checkout that is not installed."""
    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    declared = parser.get("options.entry_points", GROUP, fallback="")
    return {name: EntryPoint(name, value, GROUP) for name, value in _pairs(declared)}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Split `name = value` lines into pairs."""
    for line in filter(str.strip, text.splitlines()):
        name, _, value = line.partition("=")
        yield name.strip(), value.strip()
