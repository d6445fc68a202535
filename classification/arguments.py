"""The classification job that a command line asks for. Nothing heavy is imported here: --help must answer at once."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ean_core.cli import backends_of
from ean_core.pipeline.arguments import recipe_options, schemes_in

if TYPE_CHECKING:
    from classification.recipe import Recipe
    from ean_core.pipeline.job import Job

QUICKSTART = "classification/configs/quickstart_digits.py"


def recipe_of_own_images(root: Path, directory: Path, options: Mapping[str, Any], *, resume: bool, kept: bool) -> Path:
    """Write a recipe for the images in a folder, unless a run is resumed that has one.

    Args:
        root: the folder of the images.
        directory: the run's, where the recipe goes.
        options: recipe fields that the user gave.
        resume: whether to keep a recipe that is there.
        kept: whether the directory outlives the command.

    Returns:
        the recipe's path.
    """
    from classification import own_images
    from ean_core.utils.distributed import run_on_main_process
    from ean_core.utils.screen import say

    recipe = directory / "recipe.py"

    def write() -> None:  # by the first process alone: it writes the file that is looked for
        if not (resume and recipe.exists()):
            lines = own_images.write_recipe(root, directory, options)
            where = f"written to {recipe}; " if kept else ""
            say(*lines, f"{where}replace any field with --cfg-options, such as train.epochs=20 supernet.epochs=20")

    run_on_main_process(write)
    return recipe


def recipe_for_images(arguments: argparse.Namespace, root: Path, directory: Path, options: Mapping[str, Any]) -> Recipe:
    """The recipe for the images in a folder; a dry run writes it nowhere that stays.

    Args:
        arguments: of `add_pipeline_arguments`.
        root: the folder of the images.
        directory: the run's.
        options: recipe fields that the user gave.
    """
    from classification import own_images
    from classification.recipe import Recipe
    from ean_core.pipeline.dry_run import refuse_processes

    if not (arguments.resume and (directory / "recipe.py").exists()):
        own_images.check_schemes(schemes_in(arguments), options)
    if not arguments.dry_run:
        path = recipe_of_own_images(root, directory, options, resume=arguments.resume, kept=True)
        return Recipe.from_file(path, options)
    refuse_processes()  # each would have a folder of its own
    with tempfile.TemporaryDirectory(prefix="ean-dry-run-") as folder:
        path = recipe_of_own_images(root, Path(folder), options, resume=arguments.resume, kept=False)
        return Recipe.from_file(path, options)


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
    from ean_core.networks.architectures import stages_blocks
    from ean_core.pipeline.search import scheme_of
    from ean_core.utils.distributed import is_main_process, run_on_main_process, start_processes
    from ean_core.utils.process_agreement import check_same_files
    from ean_core.utils.screen import say

    options = recipe_options(arguments, flags)
    backends = backends_of(arguments.log)
    launcher = start_processes(arguments.launcher)
    root, directory = Path(arguments.data_root or "data"), arguments.work_dir
    own = arguments.config is None and arguments.data_root is not None
    if own:
        directory = Path(directory or Path("work_dirs") / own_images.recipe_name(root))
        recipe = recipe_for_images(arguments, root, directory, options)
    else:
        recipe = Recipe.from_file(arguments.config or Path(__file__).resolve().parent.parent / QUICKSTART, options)
    for value in schemes_in(arguments):  # before any data is read
        scheme_of(value, stages_blocks(recipe.model.arch), recipe.model.attention)
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
    if own and not arguments.dry_run:
        run_on_main_process(lambda: say(*own_images.write_split(job.task.images, root, job.directory)))
    if is_main_process():
        say(f"{recipe.name}: {job.describe()}", describe_device(job), *job.task.data.remarks)
    return job
