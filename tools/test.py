"""Test a trained classifier (top-1, top-5, which classes are taken for which) or segmentor (mIoU, mAcc, aAcc)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ean_core.cli import make_parser
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python tools/test.py classification/configs/quickstart_digits.py work_dirs/quickstart_digits/org-seed0/classifier.pth
  python tools/test.py segmentation/configs/ean_se_voc.py work_dirs/ean_se_voc/last.pth --tta

Tests a checkpoint on the test images of the config that it was trained with, and writes test.json beside it. The
options are those of the config's task:

  python tools/test.py CONFIG --help                                             lists them"""


@command
def main(argv: Sequence[str]) -> None:
    """Find the config's task, and hand over to its command."""
    parser = make_parser(HELP, usage="CONFIG CHECKPOINT [options of its task]")
    parser.add_argument("config", metavar="CONFIG", help="the config that the checkpoint was trained with; comes first")
    parser.parse_args(argv[:1])
    from ean_core.utils.task_registry import task_of_config

    task = task_of_config(argv[0])
    if task.test is None:
        raise EANError(f"{argv[0]} is a configuration of {task.name}: {task.test_hint}")
    task.test(argv)


if __name__ == "__main__":
    main(sys.argv[1:])
