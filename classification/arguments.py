"""Arguments that the classification commands share. Nothing heavy is imported here: --help must answer at once."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ean_core.cli import add_run_arguments, backends_of, file_of, parse_options

if TYPE_CHECKING:
    from ean_core.pipeline.job import Job
    from ean_core.pipeline.retrain import Target

TRAIN_ONLY = "--train-only"
QUICKSTART = "classification/configs/quickstart_digits.py"


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Recipe, attention, data and work directory: the same flags with the same meaning in every command."""
    add = parser.add_argument
    add(
        "config",
        nargs="?",
        metavar="CONFIG",
        help=f"a recipe; a .py file is a program and runs (default {QUICKSTART}, or one made for --data-root)",
    )
    add("--attention", help="se, sge, dia, timm:eca .., your FILE.py:CLASS or MODULE:CLASS: replaces the recipe's")
    add("--data-root", metavar="DIR", help="where the data sets are (default data); without CONFIG: your own images")
    add("--fast", action="store_true", help="bfloat16, channels_last and what else is faster on this device")
    add_run_arguments(parser, work_dir="work_dirs/NAME_OF_THE_RECIPE", example="search.steps=50")


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """Add --jobs, of commands that train many networks."""
    parser.add_argument(
        "--jobs", type=file_of(".txt"), metavar="FILE.txt", help="write a command for each training, and train nothing"
    )


def training_commands(arguments: argparse.Namespace, job: Job, targets: Sequence[Target]) -> list[list[object]]:
    """A command for each training of these networks, seed by seed, so that an early end leaves a fair comparison.

    Args:
        arguments: of `add_pipeline_arguments`.
        job: made of them.
        targets: to train with all the job's seeds.
    """
    from ean_core.pipeline.retrain import MODES

    common = [Path(__file__).resolve().parent.parent / "tools/train_cls.py", *same_arguments(arguments, job)]
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

    options = parse_options(arguments.cfg_options)
    replaced = {"model.attention": arguments.attention, **flags}
    options.update({name: value for name, value in replaced.items() if value is not None})
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
