"""Train a crowd counter over a residual network with attention, and test it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from crowd_counting.cli import DEFAULT_WORK_DIR, add_data_arguments, add_empty_argument, data_name, data_words
from ean_core.cli import (
    add_run_arguments,
    at_least,
    backends_of,
    load_attention,
    make_parser,
    parse_options,
    positive,
    seed,
)
from ean_core.utils.errors import EANError, command

if TYPE_CHECKING:
    from pathlib import Path

    from crowd_counting.job import Job
    from crowd_counting.recipe import Recipe

HELP = """\
example:
  python crowd_counting/train.py --part A --weights imagenet --attention se --scheme 0100010110011001
  python crowd_counting/train.py --part B --weights work_dirs/NAME/share-full-seed0/classifier.pth --seeds 0 1 2
  python crowd_counting/train.py crowd_counting/configs/shanghaitech_a_lite0.py --part A B --empty NOBODY/
  python crowd_counting/prepare.py --demo && python crowd_counting/train.py --part demo      (minutes on a laptop)

Trains on most of the training images, keeps the counter with the lowest error on the rest (best.pth) and the last one
(final.pth), tests both on the test images, and prints their errors (mean and standard deviation over several seeds).
RMSE is what most counting papers call MSE. All fields of CONFIG and --cfg-options are documented in
crowd_counting/recipe.py.

Several parts are trained on together and tested one by one. A share of each is held out, and so is a share of the
photos without people; with either, the lowest mean of MAE / mean count over the parts chooses the checkpoint."""
DEMO = "crowd_counting/configs/demo.py"
FLAGS = {  # flag -> field of the recipe
    "arch": "model.arch",
    "attention": "model.attention",
    "scheme": "model.scheme",
    "weights": "model.weights",
    "loss": "train.loss",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "batch_norm": "train.batch_norm",
    "lr": "train.lr",
    "empty": "data.empty",
}


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CONFIG] --part A [options]")
    add = parser.add_argument
    add(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="a recipe; a .py file is code and gets executed (default: configs/demo.py for part demo)",
    )
    add_data_arguments(parser)
    add_empty_argument(parser, use="which teach the counter to count nobody")
    add("--arch", metavar="NAME", help="default: that of the weights or scheme file, else resnet50")
    add("--attention", metavar="NAME", help="se, timm:eca, .. (default: that of the weights or scheme file, else none)")
    add("--scheme", metavar="WHICH", help="org, share-full, org-full, a scheme.json or bits")
    add("--weights", metavar="FILE", help="a classifier.pth, public weights, a URL, or imagenet to download them")
    add("--loss", metavar="NAME", help="mse, bayesian, dm_count, poisson (default mse)")
    add("--epochs", type=at_least(1), metavar="N", help="default 400")
    add("--batch-size", type=at_least(1), metavar="N", help="crops per step (default 8)")
    add("--batch-norm", metavar="MODE", help="train or frozen (default: frozen with --weights, else train)")
    add("--lr", type=positive, metavar="X", help="learning rate (default 1e-5)")
    add("--seeds", type=seed, nargs="+", default=[0], metavar="N", help="one run per seed (default 0)")
    add_run_arguments(parser, work_dir=f"{DEFAULT_WORK_DIR}/DATA-ATTENTION-LOSS", example="data.crop=256")
    arguments = parser.parse_args(argv)
    arguments.words = list(argv)
    return arguments


def run(arguments: argparse.Namespace) -> None:
    """Train one counter per seed, test them and print the errors."""
    from pathlib import Path

    from crowd_counting.data.load import load_crowd
    from crowd_counting.dry_run import dry_run
    from crowd_counting.fit import train_counter
    from crowd_counting.job import Job
    from crowd_counting.model.pretrained import check_scheme
    from crowd_counting.summary import covered_seeds
    from ean_core.pipeline.estimate import announce_networks
    from ean_core.utils.distributed import is_main_process, start_processes, stop_processes
    from ean_core.utils.screen import say

    if len(set(arguments.seeds)) < len(arguments.seeds):
        raise EANError(f"--seeds must be distinct, got {arguments.seeds}")
    backends = backends_of(arguments.log)
    recipe = recipe_of(arguments)
    check_scheme(recipe.model)
    launcher = start_processes(arguments.launcher)
    if not arguments.part and arguments.annotations is None:
        arguments.part, arguments.annotations = recipe.data.parts, recipe.data.annotations
    arguments.empty = recipe.data.empty
    data = load_crowd(
        parts=arguments.part,
        annotations=arguments.annotations,
        data_root=arguments.data_root,
        empty=arguments.empty,
        refuse_copies=True,
    )
    name = f"{data_name(arguments)}-{(recipe.model.attention or 'none').replace(':', '-')}-{recipe.train.loss}"
    job = Job.prepare(
        recipe,
        data,
        directory=Path(arguments.work_dir or Path(DEFAULT_WORK_DIR) / name),
        launcher=launcher,
        resume=arguments.resume,
        backends=backends,
    )
    if is_main_process():
        say(job.describe(), *filter(None, (job.weights_message, data.note, *job.data.remarks)))
    if arguments.dry_run:
        dry_run(job, seeds=arguments.seeds)
        return
    seeds, estimate = covered_seeds(job, arguments.seeds), announce_networks(len(arguments.seeds), noun="counter")
    for number in arguments.seeds:
        train_counter(job, seed=number, on_pace=estimate)
        estimate = None  # said once
    if is_main_process():
        report(job, seeds, arguments)
    stop_processes()


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The recipe with the command line's changes; the demo has one of its own."""
    from pathlib import Path

    from crowd_counting.recipe import Recipe

    arguments.attention = load_attention(arguments.attention)
    fields = {field: getattr(arguments, flag) for flag, field in FLAGS.items()}
    given = {field: value for field, value in fields.items() if value is not None}
    path = arguments.config or (Path(__file__).resolve().parents[1] / DEMO if arguments.part == ["demo"] else None)
    return Recipe.read(path, {**parse_options(arguments.cfg_options), **given})


def report(job: Job, seeds: Sequence[int], arguments: argparse.Namespace) -> None:
    """Write the summary over the seeds, print the errors on the test images, and say what can be done next.

    Args:
        job: whose counters are trained.
        seeds: of the counters.
        arguments: of the command.
    """
    from crowd_counting.evaluation import print_ranges, print_scores
    from crowd_counting.fit import read_result
    from crowd_counting.summary import summarize_seeds
    from crowd_counting.verdict import verdicts
    from ean_core.io.records import processes_note
    from ean_core.utils.screen import say, say_next, say_verdict
    from ean_core.utils.text import how_many

    directories = [job.directory / f"seed{seed}" for seed in seeds]
    summary = summarize_seeds(job, directories)
    title = f"{job.data.name}: {len(job.data.test)} test images, {how_many(len(seeds), 'seed')}"
    print_scores({"best on validation": summary["best"], "last epoch": summary["final"]}, title=title)
    if len(seeds) == 1:
        print_ranges("best on validation", read_result(directories[0] / "result.json")["metrics"]["best"]["test"])
    processes = {f"seed {seed}": [count] for seed, count in zip(seeds, summary["processes"], strict=False)}
    if note := processes_note(processes):
        say(f"note: {note}")
    say_verdict(verdicts(job.directory))
    say(f"files in {job.directory}/: summary.json  {'  '.join(f'{path.name}/best.pth' for path in directories)}")
    say_next(*next_commands(arguments, job, directories[0]))


def next_commands(arguments: argparse.Namespace, job: Job, directory: Path) -> list[list[object]]:
    """What the user will want next: to use and test the counter, and the network that it is to be compared with or,
    where that is trained and the recipe can be searched, a search.

    Args:
        arguments: of the training.
        job: made of them.
        directory: of the first seed.
    """
    from crowd_counting.verdict import other_network
    from ean_core.utils.screen import script

    tested = argparse.Namespace(**{**vars(arguments), "empty": None})  # it has seen those
    test: list[object] = [*script("crowd_counting/test.py"), directory, *data_words(tested)]
    photo: list[object] = [*script("crowd_counting/predict.py"), directory / "best.pth", "PHOTO.jpg"]
    commands = [[*photo, "--out-dir", "counts"], test]
    if other := other_network(arguments.words, job):
        commands.append([*script("crowd_counting/train.py"), *other])
    elif job.recipe.supernet and job.recipe.search:
        commands.append([*script("tools/search.py"), *search_words(arguments)])
    return commands


def search_words(arguments: argparse.Namespace) -> list[object]:
    """The arguments of tools/search.py with which it searches on this command's data, with its settings."""
    parts = list(arguments.part)
    flags = {field: getattr(arguments, flag) for flag, field in FLAGS.items() if flag != "scheme"}
    given = {**flags, "data.annotations": arguments.annotations, "data.part": parts[0] if len(parts) == 1 else parts}
    options = [*arguments.cfg_options, *(f"{name}={value}" for name, value in given.items() if value)]
    root = ["--data-root", arguments.data_root] if arguments.data_root else []
    return [arguments.config or DEMO, *root, "--cfg-options", *options]


def main(argv: Sequence[str]) -> None:
    """Parse `argv` and train; also called by tools/train.py."""
    run(parse_arguments(argv))


if __name__ == "__main__":
    command(main)(sys.argv[1:])
