"""Is the proxy any good? How well scores on the supernet order schemes as training them from scratch does.

Efficient Attention Network (https://arxiv.org/abs/2011.14058), section 4.3, with intervals.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ean_core.cli import at_least, make_parser, seed
from ean_core.pipeline.arguments import (
    add_jobs_argument,
    add_pipeline_arguments,
    same_arguments,
    start_job,
    training_commands,
)
from ean_core.utils.errors import EANError, command

if TYPE_CHECKING:
    from ean_core.pipeline.correlation.selection import Groups
    from ean_core.pipeline.correlation.study import Study
    from ean_core.pipeline.job import Job

HELP = """\
example:
  python tools/correlation.py                                             the quickstart's digits, half an hour
  python tools/correlation.py classification/configs/ean_se_r20_cifar100_subset30k.py --schemes 12
  python tools/correlation.py CONFIG --schemes 24 --seeds 0 1 --resume                  more schemes, more seeds
  python tools/correlation.py CONFIG --random 16 --searched work_dirs/NAME/scheme.json  Figure 4, trained from scratch
  python tools/correlation.py CONFIG --schemes 24 --jobs jobs.txt                       a list of commands

Chooses schemes, scores each on the supernet with and without BN calibration, trains each from scratch with
the recipe's train section, and reports Pearson's r, Spearman's rho and Kendall's tau with 95 % intervals.
--schemes draws evenly spread numbers of connections, --random independent fair bits; --searched puts schemes of a
search beside random ones, the last and first blocks and a periodic scheme (HSP) with as many connections.

Whatever is finished is kept and reused. Start the same command again with --resume, in another terminal or on another
GPU, to share the training runs. For many processes or machines, --jobs writes one command per line for the supernet and
each training run; the same command with --resume collects the results. After every training run, scores.json,
correlation.json, correlation.png and, with several groups of schemes, correlation.figure4.png are written to the work
directory."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CONFIG] [options]")
    add = parser.add_argument
    add(
        "--schemes",
        type=at_least(1),
        metavar="N",
        help="schemes with evenly spread numbers of connections (default 12, unless others are asked for)",
    )
    add("--random", type=at_least(1), metavar="N", help="random schemes, each bit set with probability 1/2")
    add(
        "--searched",
        nargs="+",
        metavar="WHICH",
        help="scheme.json or bits, compared with others of as many connections",
    )
    add("--same-size", type=at_least(0), metavar="K", help="random schemes per searched one (default 8)")
    add("--draw-seed", type=seed, default=0, metavar="N", help="seed for drawing the schemes (default 0)")
    add(
        "--seeds",
        type=seed,
        nargs="+",
        default=[0],
        metavar="N",
        help="seeds of the training runs, one run per scheme and seed (default 0)",
    )
    add(
        "--images",
        type=at_least(1),
        default=2000,
        metavar="N",
        help="training images for BN calibration (default 2000)",
    )
    add("--report", action="store_true", help="only report existing results, without training")
    add(
        "--scores-only",
        action="store_true",
        help="train the supernet and score the schemes, but train nothing from scratch",
    )
    add_jobs_argument(parser)
    add_pipeline_arguments(parser)
    return parser.parse_args(argv)


def choose(arguments: argparse.Namespace, job: Job) -> Groups:
    """The schemes that the flags ask for; to be reported on and without flags, those of the study that is there."""
    from ean_core.pipeline.correlation.selection import choose_schemes
    from ean_core.pipeline.correlation.study import check_scored, scored_groups
    from ean_core.pipeline.search import scheme_of

    if arguments.same_size is not None and not arguments.searched:
        raise EANError(f"--same-size {arguments.same_size} is for schemes beside a searched one: give --searched too")
    blocks, nothing = job.task.blocks(), not (arguments.schemes or arguments.random or arguments.searched)
    if arguments.report and nothing:
        return scored_groups(job.directory, blocks)
    groups = choose_schemes(
        blocks,
        spread=arguments.schemes or (12 if nothing else 0),
        random=arguments.random or 0,
        searched=[scheme_of(which, blocks, job.recipe.model.attention) for which in arguments.searched or ()],
        same_size=8 if arguments.same_size is None else arguments.same_size,
        seed=arguments.draw_seed,
    )
    if arguments.report:
        check_scored(job.directory, groups)
    return groups


def write_jobs(arguments: argparse.Namespace, study: Study) -> None:
    """The supernet with its scores, and every training, as a list of commands."""
    from ean_core.pipeline.job_list import write_job_list

    scores: list[object] = [Path(__file__).resolve(), *same_arguments(arguments, study.job), "--scores-only"]
    for flag in ("schemes", "random", "same_size", "draw_seed", "images"):
        value = getattr(arguments, flag)
        scores += [] if value is None else [f"--{flag.replace('_', '-')}", value]
    scores += ["--searched", *arguments.searched] if arguments.searched else []
    scores += ["--seeds", *arguments.seeds]
    targets = [study.target(scheme) for scheme in study.schemes]
    write_job_list(arguments.jobs, [scores, *training_commands(arguments, study.job, targets)])


@command
def main(argv: Sequence[str]) -> None:
    """Score and train the schemes, and report the correlations."""
    arguments = parse_arguments(argv)
    from ean_core.pipeline.correlation.coverage import with_earlier_seeds
    from ean_core.pipeline.correlation.study import Study, prepare
    from ean_core.pipeline.correlation.summary import report_study
    from ean_core.pipeline.correlation.training import train_remaining
    from ean_core.pipeline.dry_run import dry_run
    from ean_core.utils.screen import say, say_next, script

    arguments.resume |= arguments.report
    job = start_job(arguments, {"seeds": arguments.seeds})
    study = Study(job, choose(arguments, job), draw_seed=arguments.draw_seed, images=arguments.images)
    if arguments.dry_run:
        count = len(study.schemes) * len(job.recipe.seeds)
        dry_run(job, [(study.target(study.schemes[0]), count)], schemes=2 * len(study.schemes))  # in two ways
        return
    if arguments.jobs:
        write_jobs(arguments, study)
        return
    with_earlier_seeds(study)  # refuses one whose report would replace a larger one
    scores = prepare(study)
    if arguments.scores_only:
        return
    if not arguments.report:
        for directory in train_remaining(study):
            say(f"trained {directory}")
            report_study(study, scores, last=False)
    files = report_study(study, scores, last=True)
    say("files: " + "  ".join(map(str, files)))
    more = [*script("tools/correlation.py"), *same_arguments(arguments, job), "--schemes", 2 * len(study.schemes)]
    say_next([*script("tools/report.py"), "--html", job.directory / "report.html", job.directory], more)


if __name__ == "__main__":
    main(sys.argv[1:])
