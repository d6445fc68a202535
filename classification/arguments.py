"""The classification job that a command line asks for. Nothing heavy is imported here: --help must answer at once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ean_core.cli import backends_of
from ean_core.pipeline.arguments import recipe_options

if TYPE_CHECKING:
    from ean_core.pipeline.job import Job

QUICKSTART = "classification/configs/quickstart_digits.py"


def recipe_of_own_images(root: Path, directory: Path, options: Mapping[str, Any], *, resume: bool) -> Path:
    """Write a recipe for the images in a folder, unless a run is resumed that has one.

    Args:
        root: the folder of the images.
        directory: the run's, where the recipe goes.
        options: recipe fields that the user gave.
        resume: whether to keep a recipe that is there.

    Returns:
        the recipe's path.
    """
    from classification import own_images
    from ean_core.utils.distributed import run_on_main_process

    recipe = directory / "recipe.py"

    def write() -> None:  # by the first process alone: it writes the file that is looked for
        if not (resume and recipe.exists()):
            print(own_images.write_recipe(root, directory, options), flush=True)

    run_on_main_process(write)
    return recipe


def job_from_arguments(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    """Read the recipe, join the other processes, and read the data.

    Without a recipe but with a data root, one is made for the images there.

    Args:
        arguments: of `add_pipeline_arguments`.
        flags: recipe fields that other flags replace; those that are None were not given.
    """
    from classification import own_images
    from classification.job import describe_device, start_job
    from classification.recipe import Recipe
    from ean_core.utils.distributed import is_main_process, run_on_main_process, start_processes
    from ean_core.utils.process_agreement import check_same_files

    options = recipe_options(arguments, flags)
    backends = backends_of(arguments.log)
    launcher = start_processes(arguments.launcher)
    config = arguments.config or Path(__file__).resolve().parent.parent / QUICKSTART
    root, directory = Path(arguments.data_root or "data"), arguments.work_dir
    own = arguments.config is None and arguments.data_root is not None
    if own:
        directory = Path(directory or Path("work_dirs") / own_images.recipe_name(root))
        config = recipe_of_own_images(root, directory, options, resume=arguments.resume)
    recipe = Recipe.from_file(config, options)
    if arguments.resume:
        check_same_files(Path(directory or Path("work_dirs") / recipe.name))
    job = start_job(
        recipe,
        data_root=root,
        directory=directory or Path("work_dirs") / recipe.name,
        fast=arguments.fast,
        given=options,
        launcher=launcher,
        resume=arguments.resume,
        backends=backends,
    )
    if own:
        run_on_main_process(lambda: print(own_images.write_split(job.task.images, root, job.directory), flush=True))
    if is_main_process():
        lines = [f"{recipe.name}: {job.describe()}", describe_device(job), *job.task.data.remarks]
        print("\n".join(lines), flush=True)
    return job
