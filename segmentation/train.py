"""Train a segmentor of one of mmsegmentation's configs over this project's backbone."""

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

Trains a segmentor, and writes to the work directory last.pth (the weights and all that --resume needs), result.json
(mIoU, mAcc, aAcc and every class of the last weights, and what the validations in between found) and pictures/."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(HELP, usage="CONFIG [options]")
    add = parser.add_argument
    add("config", metavar="CONFIG", help="of segmentation/configs, or your own")
    add(
        "--weights",
        metavar="FILE",
        help="of the backbone: a classifier.pth, public ones, https://.., torchvision://resnet50",
    )
    add("--seed", type=seed, default=0, metavar="N", help="of weights, order and augmentation (default 0)")
    add("--amp", action="store_true", help="mixed precision: float16 on GPUs, bfloat16 on CPUs")
    add("--data-root", default="data", metavar="DIR", help="where the data sets are (default data)")
    add_run_arguments(parser, work_dir="work_dirs/NAME_OF_THE_CONFIG", example="train_cfg.max_iters=4000")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Parse and train."""
    arguments = parse_arguments(argv)
    from segmentation.commands import train_segmentor

    train_segmentor(arguments)
