"""Test a trained segmentor: mIoU, mAcc, aAcc and every class."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ean_core.cli import add_own_attention, at_least, load_attention, make_parser

HELP = """\
example:
  python tools/test.py segmentation/configs/ean_se_voc.py work_dirs/ean_se_voc/last.pth --tta

Prints IoU and accuracy of every class and their means on the config's test images, and writes them to test.json beside
the checkpoint."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(HELP, usage="CONFIG CHECKPOINT [options]")
    add = parser.add_argument
    add("config", metavar="CONFIG", help="that the segmentor was trained with")
    add("checkpoint", metavar="CHECKPOINT", help="a last.pth")
    add("--data-root", default="data", metavar="DIR", help="where the data sets are (default data)")
    add("--out-dir", metavar="DIR", help="where the results go (default beside the checkpoint)")
    add("--cfg-options", nargs="+", default=[], metavar="K=V", help="replace fields of the config")
    add("--slide", type=at_least(16), metavar="N", help="in windows of N pixels, a third overlapping")
    add("--tta", action="store_true", help="average over flips and several scales")
    add_own_attention(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Parse and test."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from segmentation.commands import test_segmentor

    test_segmentor(arguments)
