"""The registry of tasks: `ean_core` knows none of them by name, and each says here what it can do.

A task is a package with a function that calls `register_task` and, if it has network files of its own,
`register_loader`. The function is declared as an entry point of the group `ean.tasks`; those of the project's own three
are in setup.cfg. Installed packages, whoever wrote them, are found through their metadata, and the packages of a
checkout that is not installed through its setup.cfg. The function must import nothing heavy, since all tasks are
registered whenever one is looked for.
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

from ean_core.utils.config_files import check_config_file
from ean_core.utils.errors import EANError, first_line, unknown_name

GROUP = "ean.tasks"
CHECKOUT = Path(__file__).resolve().parents[2]

Main = Callable[[Sequence[str]], None]
"""A command: takes the arguments that follow its name, prints, and raises `EANError` for a mistake of the user's."""

StartJob = Callable[[argparse.Namespace, Mapping[str, Any]], Any]
"""(parsed arguments, recipe fields that other flags replace) -> `ean_core.pipeline.job.Job`."""

LoadWithConfig = Callable[[Path, Path], Any]
"""(checkpoint, configuration) -> `ean_core.inference.loaded_model.LoadedModel`."""

Loader = Callable[[Path, dict[str, Any]], Any]
"""(path, content of the file) -> `ean_core.inference.loaded_model.LoadedModel`, on the CPU and in eval mode."""


@dataclass(frozen=True)
class TaskEntry:
    """What the commands need of a task. Every function imports what it needs when it is called.

    Attributes:
        name: of the package, such as "classification".
        configs: folder of its configurations, for error messages.
        recognizes: whether a configuration, read by MMEngine, is this task's. Tasks are asked in the order of their
            names, so that exactly one must claim a valid configuration.
        train: `tools/train.py CONFIG ...`.
        test: `tools/test.py CONFIG CHECKPOINT ...`; None if the task has a command of its own, which `test_hint` names.
        test_hint: what to run instead.
        start_job: for the search and the studies around it; None for a task that does not implement
            `ean_core.pipeline.task.Task`.
        load_with_config: for checkpoints that need their configuration.
    """

    name: str
    configs: str
    recognizes: Callable[[Mapping[str, Any]], bool]
    train: Main
    test: Main | None = None
    test_hint: str = ""
    start_job: StartJob | None = None
    load_with_config: LoadWithConfig | None = None


_TASKS: dict[str, TaskEntry] = {}
_LOADERS: dict[str, Loader] = {}


def register_task(entry: TaskEntry) -> None:
    """Make a task known to the commands; registering it again replaces it."""
    _TASKS[entry.name] = entry


def register_loader(file_format: str, loader: Loader) -> None:
    """Make `ean_core.load`, Grad-CAM and export read a kind of network file.

    Args:
        file_format: the file's entry "format", such as "ean-counter-1".
        loader: makes the model of a file's content.
    """
    _LOADERS[file_format] = loader


def all_tasks() -> dict[str, TaskEntry]:
    """All tasks by name, in the order of their names."""
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


def get_loader(file_format: str) -> Loader | None:
    """What reads network files of this format; None if nothing does."""
    _register_entry_points()
    return _LOADERS.get(file_format)


def task_of_config(path: str | Path) -> TaskEntry:
    """The task that a configuration file is for.

    Raises:
        EANError: if the file is missing, cannot be read, or is no task's.
    """
    from ean_core.utils.recipe_file import read_recipe_file  # MMEngine takes a second to import

    tasks = all_tasks()
    check_config_file(path, folders=[task.configs for task in tasks.values()])
    try:
        config = read_recipe_file(path, import_custom_modules=False)
    except EANError:
        raise
    except Exception as error:  # a config is a program: it can fail in any way
        raise EANError(f"{path} cannot be read as a config ({type(error).__name__}: {first_line(error)})") from None
    for task in tasks.values():
        if task.recognizes(config):
            return task
    examples = ", ".join(f"{task.configs}/" for task in tasks.values())
    raise EANError(f"{path} is a configuration of none of {', '.join(tasks)}: see the examples in {examples}")


@cache
def _register_entry_points() -> None:
    """Call the registering function of every task, once.

    Raises:
        EANError: naming the task that cannot be imported.
    """
    installed = {point.name: point for point in entry_points(group=GROUP)}
    for name, point in {**_declared_in_checkout(), **installed}.items():
        try:
            register = point.load()
        except (ImportError, AttributeError) as error:
            raise EANError(
                f"task {name!r} ({point.value}) cannot be imported ({first_line(error)}): install its package again, "
                "or uninstall it"
            ) from None
        register()


def _declared_in_checkout() -> dict[str, EntryPoint]:
    """The entry points in the checkout's setup.cfg, for a checkout that is not installed."""
    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    declared = parser.get("options.entry_points", GROUP, fallback="")
    return {name: EntryPoint(name, value, GROUP) for name, value in _pairs(declared)}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """`name = value` lines to pairs."""
    for line in filter(str.strip, text.splitlines()):
        name, _, value = line.partition("=")
        yield name.strip(), value.strip()
