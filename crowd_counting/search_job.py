"""Start a search of a counting recipe: read its data and weights, and give the pipeline its job."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crowd_counting.cli import default_root
from crowd_counting.data.demo import PART, draw_demo
from crowd_counting.data.load import load_crowd
from crowd_counting.job import Job as CountingJob
from crowd_counting.model.network import SEARCHED
from crowd_counting.model.pretrained import check_scheme
from crowd_counting.recipe import Recipe
from crowd_counting.task import searched_task
from ean_core.cli import backends_of
from ean_core.pipeline.arguments import recipe_options, schemes_in
from ean_core.pipeline.job import Job
from ean_core.utils.distributed import is_main_process, run_on_main_process, start_processes
from ean_core.utils.errors import EANError
from ean_core.utils.process_agreement import check_same_files
from ean_core.utils.screen import say

FAST = {"precision": "bfloat16", "channels_last": True}
"""What --fast sets in every section that trains, unless the user gave it."""


def job_from_arguments(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    """Read the recipe, join the other processes, and read the data; the demo's is drawn on first use.

    Args:
        arguments: of `ean_core.pipeline.arguments.add_pipeline_arguments`.
        flags: recipe fields that other flags replace; those that are None were not given.

    Raises:
        EANError: for a recipe that names no data or cannot be searched, or data that cannot be read.
    """
    options, backends = recipe_options(arguments, flags), backends_of(arguments.log)
    launcher = start_processes(arguments.launcher)
    recipe = Recipe.read(arguments.config, options)
    if arguments.fast:
        sections = [name for name in ("train", "supernet") if getattr(recipe, name) is not None]
        fast = {f"{section}.{name}": value for section in sections for name, value in FAST.items()}
        recipe = Recipe.read(arguments.config, {**fast, **options})
    for value in schemes_in(arguments):  # before any data is read
        attention = recipe.model.attention or SEARCHED
        check_scheme(dataclasses.replace(recipe.model, scheme=value, attention=attention))
    directory = Path(arguments.work_dir or Path("work_dirs") / recipe.name)
    if arguments.resume:
        check_same_files(directory)
    task = start_task(recipe, data_root=arguments.data_root, directory=directory)
    job = Job(task, directory, launcher=launcher, resume=arguments.resume, backends=backends)
    if is_main_process():
        run, data = task.counting, task.counting.data
        lines = [f"{recipe.name}: {job.describe()}", run.weights_message, data.note, *data.remarks]
        say(*filter(None, lines))
    return job


def start_task(recipe: Recipe, *, data_root: str | None, directory: Path) -> Any:
    """The task of a recipe: everything read and checked.

    Args:
        recipe: names its data.
        data_root: folder of ShanghaiTech's parts; None for the default.
        directory: of the run.

    Raises:
        EANError: as `job_from_arguments`.
    """
    parts, annotations = recipe.data.parts, recipe.data.annotations
    if not parts and annotations is None:
        raise EANError(
            f"recipe {recipe.name!r} does not say which images to search on: give --cfg-options data.part=A (or B, or "
            "demo; \"data.part=['A','B']\" for both), or data.annotations=FILE"
        )
    drawn = Path(data_root or default_root("demo"))
    if "demo" in parts and not (drawn / PART).exists():
        run_on_main_process(lambda: say(f"drawn: {draw_demo(drawn)}"))
    data = load_crowd(
        parts=parts, annotations=annotations, data_root=data_root, empty=recipe.data.empty, refuse_copies=True
    )
    return searched_task(recipe, CountingJob.prepare(recipe, data, directory=directory))
