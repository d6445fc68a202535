"""Prepare Pascal VOC 2012: download it, merge the augmented masks, and check every image and mask."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ean_core.cli import make_parser
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python segmentation/prepare.py                                    checks data/VOCdevkit/VOC2012
  python segmentation/prepare.py --download                         downloads it first (2 GB)
  python segmentation/prepare.py --sbd benchmark_RELEASE/dataset    merges SBD's masks: 10,582 training images
  python segmentation/prepare.py --demo                             draws synthetic shapes into data/voc_demo

Decodes every image and mask of the lists, compares their sizes, labels and colors with VOC's, and prints a table."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[options]")
    add = parser.add_argument
    add("--data-root", default="data", metavar="DIR", help="folder of VOCdevkit/VOC2012 (default data)")
    add("--download", action="store_true", help="download VOC 2012 with torchvision first")
    add("--sbd", metavar="DIR", help="SBD's folder with cls/*.mat, or a folder with a mask NAME.png per image")
    add("--demo", action="store_true", help="use the synthetic shapes instead of VOC")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Download and merge if requested, check all lists and print a table."""
    arguments = parse_arguments(argv)
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from pathlib import Path

    from ean_core.utils.screen import say, say_next, script
    from segmentation.data.augmented_voc import merge_masks
    from segmentation.data.dataset_setup import check_lists, download_voc, print_data
    from segmentation.data.demo import VOCShapes
    from segmentation.data.voc import VOCSegmentation

    if arguments.demo and (arguments.download or arguments.sbd):
        raise EANError("--demo draws its own images: leave out --download and --sbd")
    root = Path(arguments.data_root) / ("voc_demo" if arguments.demo else "VOCdevkit/VOC2012")
    if arguments.download:
        download_voc(Path(arguments.data_root))
    if arguments.sbd:
        count = merge_masks(root, Path(arguments.sbd))
        say(f"merged: {count:,} training images in {root}/ImageSets/Segmentation/trainaug.txt")
    cls = VOCShapes if arguments.demo else VOCSegmentation
    contents, warnings = check_lists(root, cls)
    print_data(root, contents, classes=cls.METAINFO["classes"])
    say(*warnings)
    config = "segmentation/configs/ean_se_demo.py" if arguments.demo else "segmentation/configs/ean_se_voc.py"
    root_words = [] if arguments.data_root == "data" else ["--data-root", arguments.data_root]
    say_next([*script("tools/train.py"), config, *root_words])  # a recipe is found from any folder


if __name__ == "__main__":
    main(sys.argv[1:])
