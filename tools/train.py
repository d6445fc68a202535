"""Train any config of any task."""

from __future__ import annotations

import argparse
import runpy
import sys
from functools import partial
from pathlib import Path

from ean_core.cli import add_log, seed

HELP = """\
example:
  python tools/train.py segmentation/configs/ean_se_demo.py                       (two minutes on a laptop)
  python tools/train.py segmentation/configs/ean_se_voc.py --weights torchvision://resnet50
  torchrun --nproc_per_node 4 tools/train.py segmentation/configs/ean_se_voc.py --amp
  python tools/train.py segmentation/configs/ean_se_voc_small.py --weights work_dirs/NAME/ean-seed0/classifier.pth

Trains a segmentor, and writes to the work directory last.pth (the weights and all that --resume needs), result.json
(mIoU, mAcc, aAcc and every class of the last weights, and what the validations in between found) and pictures/. Recipes
of the other tasks are handed to tools/train_cls.py and crowd_counting/train.py, whose own options they take."""
COMMANDS = {"classification": "tools/train_cls.py", "crowd_counting": "crowd_counting/train.py"}


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s CONFIG [options]")
    add = parser.add_argument
    add("config", metavar="CONFIG", help="as those in segmentation/configs, ..; a .py file is a program and runs")
    add(
        "--weights",
        metavar="FILE",
        help="of the backbone: a classifier.pth, public ones, https://.., torchvision://resnet50",
    )
    add("--seed", type=seed, default=0, metavar="N", help="of weights, order and augmentation (default 0)")
    add("--amp", action="store_true", help="mixed precision: float16 on GPUs, bfloat16 on CPUs")
    add("--data-root", default="data", metavar="DIR", help="where the data sets are (default data)")
    add("--work-dir", metavar="DIR", help="where everything is written (default work_dirs/NAME_OF_THE_CONFIG)")
    add("--resume", action="store_true", help="go on with an interrupted run in the work directory")
    add_log(parser)
    add("--launcher", default="auto", help="auto (torchrun if it started us), none, pytorch, slurm")
    add("--cfg-options", nargs="+", default=[], metavar="K=V", help="replace fields, as train_cfg.max_iters=4000")
    return parser


def run(parser: argparse.ArgumentParser) -> None:
    """Find the task, and hand over or train."""
    arguments, unknown = parser.parse_known_args()
    from ean_core.utils.tasks import task_of

    task = task_of(arguments.config)
    if task in COMMANDS:
        sys.argv[0] = str(Path(__file__).resolve().parent.parent / COMMANDS[task])
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    from segmentation.commands import train_segmentor

    train_segmentor(arguments)


if __name__ == "__main__":
    known = make_parser()
    known.parse_known_args()  # first, for --help's sake
    from ean_core.utils.errors import command

    command(partial(run, known))()
