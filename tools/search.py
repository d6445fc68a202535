"""Search where attention pays: train the supernet, search a scheme, and retrain it beside Org and Share-full.

Efficient Attention Network (https://arxiv.org/abs/2011.14058), Algorithm 1 and the columns of Table 1.
"""

from __future__ import annotations

import argparse

from classification.arguments import add_common, start_job
from ean_core.errors import command

HELP = """\
example:
  python tools/search.py                                                   the quickstart, minutes on a laptop
  python tools/search.py classification/configs/ean_se_r164_cifar100.py    the paper's CIFAR-100 run
  torchrun --nproc_per_node 4 tools/search.py classification/configs/ean_se_r50_imagenet.py --data-root /data/imagenet

Trains a supernet on random paths, searches a connection scheme on its validation accuracy, and retrains the networks
that the recipe lists. Writes supernet.pth, history.jsonl, scheme.json, search.png, a directory per retrained network
and summary.json into the work directory."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [CONFIG] [options]")
    parser.add_argument("--method", help="ean, random, genetic, enas, hsp, ..: replaces the recipe's")
    parser.add_argument("--seed", type=int, help="of supernet and search: replaces the recipe's")
    parser.add_argument("--no-retrain", action="store_true", help="stop when the scheme is found")
    add_common(parser, work_dir="work_dirs/NAME_OF_THE_RECIPE")
    return parser.parse_args()


@command
def main() -> None:
    """Parse, build, run."""
    arguments = parse_arguments()
    from classification.pipeline import run_pipeline
    from ean_core.training.distributed import stop_processes

    job = start_job(arguments, {"search.method": arguments.method, "seed": arguments.seed})
    run_pipeline(job, retrain=not arguments.no_retrain)
    stop_processes()


if __name__ == "__main__":
    main()
