"""Arguments that the counting commands share. Nothing heavy is imported here: --help must answer at once."""

from __future__ import annotations

import argparse

DATA_ROOT = "data/ShanghaiTech"
OUT = "work_dirs/crowd_counting"


def add_data(parser: argparse.ArgumentParser) -> None:
    """Which images."""
    add = parser.add_argument
    add("--part", metavar="A|B|demo", help="of ShanghaiTech, or the set that prepare.py --demo draws")
    add("--annotations", metavar="FILE", help="another data set: a .json or .csv of points, see points_file.py")
    add("--data-root", default=DATA_ROOT, metavar="DIR", help=f"the folder with part_A, part_B (default {DATA_ROOT})")


def data_name(arguments: argparse.Namespace) -> str:
    """A name for the data's directories: part_A, or the annotation file's stem."""
    from pathlib import Path

    return f"part_{arguments.part}" if arguments.annotations is None else Path(arguments.annotations).stem
