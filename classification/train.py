"""Train classifiers of fixed connections from scratch: Org, Org-full, Share-full, or a searched scheme."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ean_core.cli import make_parser, seed
from ean_core.pipeline.arguments import (
    TRAIN_ONLY,
    add_jobs_argument,
    add_pipeline_arguments,
    start_job,
    training_commands,
)

HELP = """\
example:
  python tools/train_cls.py                                              share-full on the embedded digits
  python tools/train_cls.py --data-root my_images --scheme org share-full   your own images, a folder per class
  python tools/train_cls.py classification/configs/ean_se_r164_cifar100.py --scheme org share-full \\
      work_dirs/ean_se_r164_cifar100/scheme.json --seeds 0 1 2
  python tools/train_cls.py classification/configs/ean_se_r50_imagenet.py --scheme 0100010110011001 --data-root DIR

Trains every network with every seed by the recipe's train section, tests the last epoch's weights, and prints the mean
and the standard deviation over the seeds, the parameters, the time increment, and whether one network is better than
another. With --jobs FILE.txt the trainings are written as a list of commands, to be run by several processes or
machines; the same command with --resume then makes the table. A CONFIG of another task trains that task's networks, as
its search does."""


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
    parser.add_argument("--seeds", type=seed, nargs="+", metavar="N", help="one run each: replaces the recipe's")
    parser.add_argument(TRAIN_ONLY, action="store_true", help="no table; several such processes share a directory")
    add_jobs_argument(parser)
    add_pipeline_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Train every network with every seed, and print the table."""
    arguments = parse_arguments(argv)
    from ean_core.pipeline.job_list import write_job_list
    from ean_core.pipeline.pipeline import retrain_and_summarize
    from ean_core.pipeline.retrain import make_targets
    from ean_core.pipeline.shared_trainings import train_missing
    from ean_core.utils.distributed import run_on_main_process, stop_processes

    job = start_job(arguments, {"seeds": arguments.seeds})
    targets = make_targets(job, arguments.scheme)
    if arguments.jobs:
        run_on_main_process(lambda: write_job_list(arguments.jobs, training_commands(arguments, job, targets)))
    elif arguments.train_only:
        for directory in train_missing(job, targets):
            print(f"trained {directory}", flush=True)
    else:
        name = f"train_{'_'.join(target.label for target in targets)}.json"
        retrain_and_summarize(job, targets, job.directory / name)
    stop_processes()
