"""Train any config of any task."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ean_core.cli import make_parser
from ean_core.utils.errors import command

HELP = """\
example:
  python tools/train.py segmentation/configs/ean_se_demo.py                       two minutes on a laptop
  python tools/train.py segmentation/configs/ean_se_voc.py --weights torchvision://resnet50
  torchrun --nproc_per_node 4 tools/train.py segmentation/configs/ean_se_voc.py --amp
  python tools/train.py classification/configs/ean_se_r164_cifar100.py --scheme share-full --seeds 0 1 2
  python tools/train.py crowd_counting/configs/shanghaitech_a_r29.py --part A

Trains the network that the config describes. The options are those of the config's task:

  python tools/train.py CONFIG --help                                             lists them"""


@command
def main(argv: Sequence[str]) -> None:
    """Find the config's task, and hand over to its command."""
    parser = make_parser(HELP, usage="CONFIG [options of its task]")
    parser.add_argument(
        "config", metavar="CONFIG", help="a config from a task's configs/ folder, or your own; comes first"
    )
    parser.parse_args(argv[:1])
    from ean_core.utils.task_registry import task_of_config

    task_of_config(argv[0]).train(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
