"""Train classifiers of fixed connections from scratch: Org, Org-full, Share-full, or a searched scheme."""

from __future__ import annotations

import argparse

from classification.arguments import add_common, start_job
from ean_core.cli import seed
from ean_core.utils.errors import command

HELP = """\
example:
  python tools/train_cls.py                                              share-full on the embedded digits
  python tools/train_cls.py --data-root my_images --scheme org share-full   your own images, a folder per class
  python tools/train_cls.py classification/configs/ean_se_r164_cifar100.py --scheme org share-full \\
      work_dirs/ean_se_r164_cifar100/scheme.json --seeds 0 1 2
  python tools/train_cls.py classification/configs/ean_se_r50_imagenet.py --scheme 0100010110011001 --data-root DIR

Trains every network with every seed by the recipe's train section, tests the last epoch's weights, and prints the mean
and the standard deviation over the seeds, the parameters and the time increment."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [CONFIG] [options]")
    parser.add_argument(
        "--scheme",
        nargs="+",
        default=["share-full"],
        metavar="WHICH",
        help="org, share-full, org-full, a scheme.json or bits; several are compared",
    )
    parser.add_argument("--seeds", type=seed, nargs="+", metavar="N", help="one run each: replaces the recipe's")
    add_common(parser, work_dir="work_dirs/NAME_OF_THE_RECIPE")
    return parser.parse_args()


@command
def main() -> None:
    """Parse, build, run."""
    arguments = parse_arguments()
    from classification.retrain import make_target, train_all
    from classification.summary import print_files, print_table, summarise
    from ean_core.utils.distributed import is_first, stop_processes
    from ean_core.utils.text import how_many

    job = start_job(arguments, {"seeds": arguments.seeds})
    recipe = job.recipe
    targets = [make_target(job, value) for value in arguments.scheme]
    trained = train_all(job, targets, recipe.seeds)
    if is_first():
        rows = summarise(job, trained, job.directory / f"train_{'_'.join(target.label for target in targets)}.json")
        print_table(rows, title=f"{recipe.name}: {job.data.name} test images, {how_many(len(recipe.seeds), 'seed')}")
        print_files(trained)
    stop_processes()


if __name__ == "__main__":
    main()
