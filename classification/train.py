"""Train classifiers of fixed connections from scratch: Org, Org-full, Share-full, or a searched scheme."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ean_core.cli import make_parser, seed
from ean_core.pipeline.arguments import (
    TRAIN_ONLY,
    add_jobs_argument,
    add_pipeline_arguments,
    start_job,
    training_commands,
)

if TYPE_CHECKING:
    from ean_core.pipeline.job import Job
    from ean_core.pipeline.retrain import Target

HELP = """\
example:
  python tools/train_cls.py                                              share-full on the embedded digits
  python tools/train_cls.py --data-root my_images --scheme org share-full   your own images, a folder per class
  python tools/train_cls.py classification/configs/ean_se_r164_cifar100.py --scheme org share-full \\
      work_dirs/ean_se_r164_cifar100/scheme.json --seeds 0 1 2
  python tools/train_cls.py classification/configs/ean_se_r50_imagenet.py --scheme 0100010110011001 --data-root DIR

Trains every network with every seed by the recipe's train section, tests the last epoch's weights, and prints the mean
and the standard deviation over the seeds, the parameters, the time increment, and whether one network is better than
another. With --jobs FILE.txt the training commands are written to a file, to be run by several processes or machines;
the same command with --resume then makes the table. A CONFIG of another task trains that task's networks, as its search
does."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CONFIG] [options]")
    parser.add_argument(
        "--scheme",
        nargs="+",
        default=["share-full"],
        metavar="WHICH",
        help="org, share-full, org-full, a scheme.json or bits; several are compared",
    )
    parser.add_argument(
        "--seeds", type=seed, nargs="+", metavar="N", help="one run per network and seed; replaces the recipe's"
    )
    parser.add_argument(
        TRAIN_ONLY,
        action="store_true",
        help="train without the final table; several such processes may share a directory",
    )
    add_jobs_argument(parser)
    add_pipeline_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Train every network with every seed, and print the table."""
    arguments = parse_arguments(argv)
    from ean_core.pipeline.dry_run import dry_run
    from ean_core.pipeline.job_list import write_job_list
    from ean_core.pipeline.pipeline import retrain_and_summarize
    from ean_core.pipeline.retrain import make_targets
    from ean_core.pipeline.shared_trainings import train_missing
    from ean_core.utils.distributed import is_main_process, run_on_main_process, stop_processes
    from ean_core.utils.screen import say, say_next

    job = start_job(arguments, {"seeds": arguments.seeds})
    targets = make_targets(job, arguments.scheme)
    if arguments.dry_run:
        dry_run(job, [(target, len(job.recipe.seeds)) for target in targets])
    elif arguments.jobs:
        run_on_main_process(lambda: write_job_list(arguments.jobs, training_commands(arguments, job, targets)))
    elif arguments.train_only:
        for directory in train_missing(job, targets):
            say(f"trained {directory}")
    else:
        name = f"train_{'_'.join(target.label for target in targets)}.json"
        retrain_and_summarize(job, targets, job.directory / name)
        if is_main_process():
            say_next(*next_commands(arguments, job, targets[-1]))
    stop_processes()


def next_commands(arguments: argparse.Namespace, job: Job, target: Target) -> list[list[object]]:
    """What the user will want next: use the last network, see the results on a page, and trim the network.

    Args:
        arguments: of the command.
        job: made of them.
        target: the last network that was trained.
    """
    from ean_core.utils.screen import script
    from ean_core.utils.task_registry import get_task, task_of_config

    entry = task_of_config(arguments.config) if arguments.config else get_task("classification")
    checkpoint = job.directory / target.directory(job.recipe.seeds[0]) / job.task.network_file
    page = [*script("tools/report.py"), "--html", job.directory / "report.html", job.directory]
    use = entry.predict_words(checkpoint, config=arguments.config, options=arguments.cfg_options)
    if entry.start_trim is None or not target.scheme.connections:
        return [use, page]
    trim: list[object] = [*script("tools/trim.py"), checkpoint]
    trim += ["--config", arguments.config] if entry.load_with_config else []
    trim += ["--data-root", arguments.data_root] if arguments.data_root else []
    return [use, page, [*trim, *job.task.data_arguments()]]
