"""Command-line arguments shared by the counting commands. It imports nothing heavy, so that --help is instant."""

from __future__ import annotations

import argparse

DATA_ROOT = "data/ShanghaiTech"
DEMO_ROOT = "data/crowd_demo"
DEFAULT_WORK_DIR = "work_dirs/crowd_counting"


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --part, --annotations and --data-root, which select the images."""
    add = parser.add_argument
    add(
        "--part",
        metavar="A|B|demo",
        help="part of ShanghaiTech, or the set that crowd_counting/prepare.py --demo draws",
    )
    add(
        "--annotations",
        metavar="FILE",
        help="a different data set: a .json or .csv of points, see crowd_counting/data/points_file.py",
    )
    add("--data-root", metavar="DIR", help=f"folder with part_A and part_B (default {DATA_ROOT}; demo: {DEMO_ROOT})")


def default_root(part: str | None) -> str:
    """Where a part is unless the user says otherwise: drawn images never lie among real ones."""
    return DEMO_ROOT if part == "demo" else DATA_ROOT


def data_name(arguments: argparse.Namespace) -> str:
    """Name for the data set's output directories: part_A, or the stem of the annotation file."""
    from pathlib import Path

    return f"part_{arguments.part}" if arguments.annotations is None else Path(arguments.annotations).stem


def data_words(arguments: argparse.Namespace) -> list[str]:
    """The arguments that select the same images in another command."""
    given = (("--part", arguments.part), ("--annotations", arguments.annotations), ("--data-root", arguments.data_root))
    return [word for flag, value in given if value is not None for word in (flag, value)]
