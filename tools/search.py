"""Search where attention pays: train the supernet, search a scheme, and retrain it beside Org and Share-full.

Efficient Attention Network (https://arxiv.org/abs/2011.14058), Algorithm 1 and the columns of Table 1.
"""

from __future__ import annotations

import argparse

from classification.arguments import add_common, backends_of, parse_options
from ean_core.errors import EANError, command

HELP = """\
example:
  python tools/search.py                                                   the quickstart, minutes on a laptop
  python tools/search.py classification/configs/ean_se_r164_cifar100.py    the paper's CIFAR-100 run
  torchrun --nproc_per_node 4 tools/search.py classification/configs/ean_se_r50_imagenet.py --data-root /data/imagenet

Trains a supernet on random paths, searches a connection scheme on its validation accuracy, and retrains the networks
that the recipe lists. Writes supernet.pth, history.jsonl, scheme.json, search.png, a directory per retrained network
and summary.json into the work directory."""
QUICKSTART = "classification/configs/quickstart_digits.py"


def parse_arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [CONFIG] [options]")
    parser.add_argument("config", nargs="?", metavar="CONFIG", help=f"a recipe (default {QUICKSTART})")
    parser.add_argument("--method", help="ean, random, genetic, enas, hsp, ..: replaces the recipe's")
    parser.add_argument("--seed", type=int, help="of supernet and search: replaces the recipe's")
    parser.add_argument("--no-retrain", action="store_true", help="stop when the scheme is found")
    add_common(parser, work_dir="work_dirs/NAME_OF_THE_RECIPE")
    return parser.parse_args()


@command
def main() -> None:
    """Parse, build, run."""
    arguments = parse_arguments()
    from pathlib import Path

    from classification.parts import Job
    from classification.pipeline import run_pipeline
    from classification.recipe import Recipe
    from ean_core.training.distributed import is_first, start_processes, stop_processes

    options = parse_options(arguments.cfg_options)
    flags = {"model.attention": arguments.attention, "search.method": arguments.method, "seed": arguments.seed}
    options.update({name: value for name, value in flags.items() if value is not None})
    config = arguments.config or Path(__file__).resolve().parent.parent / QUICKSTART
    recipe = Recipe.from_file(config, options)
    if recipe.search is None:
        raise EANError(f"{config} has no search section: use tools/train_cls.py with it")
    backends = backends_of(arguments.log)
    launcher = start_processes(arguments.launcher)
    job = Job.start(
        recipe,
        data_root=arguments.data_root,
        directory=arguments.work_dir or Path("work_dirs") / recipe.name,
        launcher=launcher,
        resume=arguments.resume,
        backends=backends,
    )
    if is_first():
        print(f"{recipe.name}: {job.describe()}", flush=True)
    run_pipeline(job, retrain=not arguments.no_retrain)
    stop_processes()


if __name__ == "__main__":
    main()
