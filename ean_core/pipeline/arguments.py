"""Arguments of the commands that run the pipeline on a recipe of any task.

Nothing heavy is imported here: --help must answer at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ean_core.cli import add_run_arguments, file_of, parse_options
from ean_core.utils.errors import EANError
from ean_core.utils.shipped_files import TOOLS

if TYPE_CHECKING:
    from ean_core.pipeline.job import Job
    from ean_core.pipeline.retrain import Target

TRAIN_ONLY = "--train-only"
TRAIN_COMMAND = TOOLS / "train_cls.py"
"""Trains networks of fixed connections, for a recipe of any task."""


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, attention, data and work directory: the same flags with the same meaning in every command and task."""
    add = parser.add_argument
    add(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="a recipe of any task; a .py file is code and gets executed (default: the quickstart's, or one made for "
        "the images in --data-root)",
    )
    add(
        "--attention",
        help="se, sge, dia, timm:eca, .., your own FILE.py:CLASS or MODULE:CLASS; replaces the recipe's",
    )
    add(
        "--data-root",
        metavar="DIR",
        help="folder of the data sets (default: the task's); without CONFIG, the folder of your own images",
    )
    add("--fast", action="store_true", help="bfloat16, channels_last and whatever else is faster on this device")
    add_run_arguments(parser, work_dir="work_dirs/NAME_OF_THE_RECIPE", example="search.steps=50")


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """Add --jobs, of commands that train many networks."""
    parser.add_argument(
        "--jobs",
        type=file_of(".txt"),
        metavar="FILE.txt",
        help="only write the commands of all trainings to this file",
    )


def training_commands(arguments: argparse.Namespace, job: Job, targets: Sequence[Target]) -> list[list[object]]:
    """A command for each training of these networks, seed by seed, so that an early end leaves a fair comparison.

    Args:
        arguments: of `add_pipeline_arguments`.
        job: made of them.
        targets: to train with all the job's seeds.
    """
    from ean_core.pipeline.retrain import MODES

    common = [TRAIN_COMMAND, *same_arguments(arguments, job)]
    return [
        [
            *common,
            "--scheme",
            target.label if target.label in MODES else target.scheme.text,
            "--seeds",
            seed,
            TRAIN_ONLY,
        ]
        for seed in job.recipe.seeds
        for target in targets
    ]


def same_arguments(arguments: argparse.Namespace, job: Job) -> list[object]:
    """The arguments with which `add_pipeline_arguments` gives the same job again, to be resumed."""
    given: list[object] = [] if arguments.config is None else [arguments.config]
    for flag, value in (("--attention", arguments.attention), ("--data-root", arguments.data_root)):
        given += [] if value is None else [flag, value]
    given += ["--fast"] if arguments.fast else []
    given += ["--log", *arguments.log] if arguments.log else []
    given += ["--cfg-options", *arguments.cfg_options] if arguments.cfg_options else []
    return [*given, "--work-dir", job.directory, "--resume"]


def start_job(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    """The job of the recipe's task; classification's where no recipe is given.

    Args:
        arguments: of `add_pipeline_arguments`.
        flags: recipe fields that other flags replace; those that are None were not given.

    Raises:
        EANError: for a scheme that is none, a recipe of no task, or of a task without a search.
    """
    from ean_core.io.scheme_record import read_scheme_file
    from ean_core.scheme import scheme_file
    from ean_core.utils.task_registry import get_task, task_of_config

    for file in filter(None, map(scheme_file, schemes_in(arguments))):
        read_scheme_file(file)  # refused before any data is read
    task = task_of_config(arguments.config) if arguments.config else get_task("classification")
    if task.start_job is None:
        raise EANError(f"{arguments.config} is a configuration of {task.name}, which has no search: give another")
    return task.start_job(arguments, flags)


def schemes_in(arguments: argparse.Namespace) -> list[str]:
    """The schemes that --scheme or --searched names."""
    return [*(getattr(arguments, "scheme", None) or ()), *(getattr(arguments, "searched", None) or ())]


def recipe_options(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe fields that the user gave, by dotted name: `--cfg-options`, `--attention` and `flags`."""
    replaced = {"model.attention": arguments.attention, **flags}
    given = {name: value for name, value in replaced.items() if value is not None}
    return {**parse_options(arguments.cfg_options), **given}
