"""Search where attention pays: train the supernet, search a scheme, and retrain it beside Org and Share-full.

Efficient Attention Network (https://arxiv.org/abs/2011.14058), Algorithm 1 and the columns of Table 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ean_core.cli import at_least, make_parser, parse_options, seed
from ean_core.pipeline.arguments import add_pipeline_arguments, same_arguments, start_job
from ean_core.utils.errors import EANError, command

if TYPE_CHECKING:
    from ean_core.pipeline.comparison.compare import Comparison
    from ean_core.pipeline.job import Job
    from ean_core.search.method_choice import MethodChoice

HELP = """\
example:
  python tools/search.py                                                   the quickstart, minutes on a laptop
  python tools/search.py classification/configs/ean_se_r164_cifar100.py    the paper's CIFAR-100 run
  python tools/search.py --data-root my_images                             your own images, a folder per class
  python tools/search.py crowd_counting/configs/demo.py                    crowd counting, on drawn crowds
  python tools/search.py segmentation/configs/ean_se_demo.py               segmentation, on drawn shapes
  python tools/search.py --methods ean,ean:natural,random,genetic,enas,darts,hsp --seeds 3       compare the searches
  torchrun --nproc_per_node 4 tools/search.py classification/configs/ean_se_r50_imagenet.py --data-root /data/imagenet

Trains a supernet on random paths, searches a connection scheme by its score on the validation images (accuracy; for
counters 100 - 100 MAE / mean count; for segmentors mean IoU), and retrains the networks that the recipe lists. Writes
supernet.pth, history.jsonl, scheme.json, search.png, a directory per retrained network and summary.json into the work
directory.

With --methods, all of them search the same supernet with equal budgets and a common cache of scores; comparison/ in
the work directory gets the record and its pictures. A search ends when it has scored --evaluations different schemes
or proposed --proposals; its most probable scheme is scored on top. With --retrain, each method's scheme is trained from
scratch too.

A method may have options, for --method and --methods alike: ean:natural (a preset), ean:curiosity_weight=0,
hsp:period=2:offset=1 (0101..). FILE.py:CLASS is a method of your own, with its options as FILE.py:CLASS:NAME=VALUE;
examples/own_search_method.py is one."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CONFIG] [options]")
    add = parser.add_argument
    add("--method", help="ean, ean:natural, random, hsp:period=2, your FILE.py:CLASS, ..; replaces the recipe's")
    add(
        "--unconnected",
        choices=("identity", "mean"),
        help="what the supernet does with the residual of an unconnected block: nothing, or multiply it by the mean "
        "of its mask; replaces the recipe's search.unconnected",
    )
    add("--seed", type=seed, metavar="N", help="seed of supernet and search; replaces the recipe's")
    add(
        "--retrain",
        action=argparse.BooleanOptionalAction,
        help="train the scheme that was found (default: yes, but not with --methods)",
    )
    add("--methods", nargs="+", metavar="NAME", help="search methods to compare, separated by commas or spaces")
    add("--seeds", type=at_least(1), metavar="N", help="searches per method (default 3)")
    add(
        "--evaluations",
        type=at_least(1),
        metavar="N",
        help="maximum number of different schemes scored per search (default: search.max_evaluations, or 100)",
    )
    add(
        "--proposals",
        type=at_least(1),
        metavar="N",
        help="maximum number of schemes proposed per search (default: search.steps)",
    )
    add(
        "--samples",
        type=at_least(0),
        metavar="N",
        help="schemes drawn at the end of each search, for Fig. 4 (default 40)",
    )
    add(
        "--exhaustive",
        action=argparse.BooleanOptionalAction,
        help="score all schemes (default: if there are at most 1024)",
    )
    add_pipeline_arguments(parser)
    return parser.parse_args(argv)


COMPARISON_FLAGS = ("seeds", "evaluations", "proposals", "samples", "exhaustive")


def check(arguments: argparse.Namespace) -> None:
    """Refuse flags that do not go together."""
    if arguments.methods and arguments.method:
        raise EANError(f"--methods compares and --method {arguments.method} searches with one: give only one of them")
    for name in COMPARISON_FLAGS:
        if getattr(arguments, name) is not None and not arguments.methods:
            raise EANError(f"--{name} is for comparing search methods: give --methods ean,random,.. too")


def make_comparison(arguments: argparse.Namespace, job: Job, methods: Sequence[MethodChoice]) -> Comparison:
    """The comparison that --methods and the flags that go with it ask for."""
    from ean_core.pipeline.comparison.compare import Comparison
    from ean_core.search.comparison import Budget

    def value_of(name: str, default: int) -> int:
        value = getattr(arguments, name)
        return default if value is None else value

    evaluations = value_of("evaluations", job.search.max_evaluations or 100)
    budget = Budget(evaluations, value_of("proposals", job.search.steps), value_of("samples", 40))
    return Comparison(methods, value_of("seeds", 3), budget, arguments.exhaustive)


def time_run(arguments: argparse.Namespace, job: Job, methods: Sequence[MethodChoice]) -> None:
    """The estimate that --dry-run asks for."""
    import numpy as np

    from ean_core.pipeline.dry_run import dry_run
    from ean_core.pipeline.estimate import schemes_scored
    from ean_core.pipeline.retrain import make_target
    from ean_core.scheme import Scheme

    schemes, labels = schemes_scored(job), job.recipe.retrain if arguments.retrain is not False else ()
    if arguments.methods:
        comparison = make_comparison(arguments, job, methods)
        comparison.check(job)
        every = 2 ** sum(job.task.blocks())
        searches = len(comparison.entries) * comparison.seeds
        exhaustive = comparison.scores_every_scheme(job.task.blocks())
        schemes = every if exhaustive else min(every, searches * comparison.budget.evaluations)
        labels = labels if arguments.retrain else ()
    half = Scheme.random(job.task.blocks(), np.random.default_rng(0)).text  # in place of the one that will be found
    targets = [make_target(job, half if label == "ean" else label, label=label) for label in labels]
    dry_run(job, [(target, len(job.recipe.seeds)) for target in targets], schemes=schemes)


def next_commands(arguments: argparse.Namespace, job: Job) -> list[list[object]]:
    """What the user will want next: the results on a page, and more seeds or the networks of a comparison."""
    from ean_core.utils.screen import script

    page: list[object] = [*script("tools/report.py"), "--html", job.directory / "report.html", job.directory]
    if arguments.methods:
        comparison = [*script("tools/search.py"), *same_arguments(arguments, job), "--methods", *arguments.methods]
        for flag in ("unconnected", *COMPARISON_FLAGS[:-1]):
            value = getattr(arguments, flag)
            comparison += [] if value is None else [f"--{flag}", value]
        return [page] if arguments.retrain else [page, [*comparison, "--retrain"]]
    networks = ["org", "share-full", job.directory / "scheme.json"]
    count = max(3, 2 * len(job.recipe.seeds))
    more: list[object] = [*script("tools/train_cls.py"), *same_arguments(arguments, job), "--scheme", *networks]
    return [page, [*more, "--seeds", *range(count)]]


@command
def main(argv: Sequence[str]) -> None:
    """Run the search, or the comparison of several methods."""
    arguments = parse_arguments(argv)
    check(arguments)
    from ean_core.pipeline.pipeline import run_comparison, run_pipeline
    from ean_core.pipeline.search import with_method
    from ean_core.search.method_choice import parse_method, parse_methods
    from ean_core.utils.distributed import is_main_process, stop_processes
    from ean_core.utils.screen import say_next

    method = parse_method(arguments.method) if arguments.method else None
    methods = parse_methods(arguments.methods) if arguments.methods else []
    job = start_job(arguments, {"seed": arguments.seed, "search.unconnected": arguments.unconnected})
    if method:
        job = with_method(job, method, parse_options(arguments.cfg_options))
    if arguments.dry_run:
        time_run(arguments, job, methods)
    elif methods:
        run_comparison(job, make_comparison(arguments, job, methods), retrain=bool(arguments.retrain))
    else:
        run_pipeline(job, retrain=arguments.retrain is not False)
    if is_main_process() and not arguments.dry_run:
        say_next(*next_commands(arguments, job))
    stop_processes()


if __name__ == "__main__":
    main(sys.argv[1:])
