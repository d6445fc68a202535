"""Train a segmentor from an mmsegmentation config, with this project's backbone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ean_core.cli import add_run_arguments, make_parser, seed

HELP = """\
example:
  python tools/train.py segmentation/configs/ean_se_demo.py                       (two minutes on a laptop)
  python tools/train.py segmentation/configs/ean_se_voc.py --weights torchvision://resnet50
  torchrun --nproc_per_node 4 tools/train.py segmentation/configs/ean_se_voc.py --amp
  python tools/train.py segmentation/configs/ean_se_voc_small.py --weights work_dirs/NAME/ean-seed0/classifier.pth

Trains a segmentor, and writes to the work directory last.pth (the full state for --resume), result.json (mIoU,
mAcc, aAcc and all classes for the final weights, and all earlier validations) and pictures/."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="CONFIG [options]")
    add = parser.add_argument
    add("config", metavar="CONFIG", help="a config from segmentation/configs, or your own")
    add(
        "--weights",
        metavar="FILE",
        help="initial weights of the backbone: a classifier.pth, public weights, a URL, torchvision://resnet50",
    )
    add("--seed", type=seed, default=0, metavar="N", help="seed of weights, order and augmentation (default 0)")
    add("--amp", action="store_true", help="train with mixed precision: float16 on GPUs, bfloat16 on CPUs")
    add("--data-root", default="data", metavar="DIR", help="folder of the data sets (default data)")
    add_run_arguments(parser, work_dir="work_dirs/NAME_OF_THE_CONFIG", example="train_cfg.max_iters=4000")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Parse `argv` and train; called by tools/train.py."""
    arguments = parse_arguments(argv)
    from segmentation.commands import train_segmentor

    train_segmentor(arguments)
