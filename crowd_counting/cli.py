"""Command-line arguments shared by the counting commands. It imports nothing heavy, so that --help is instant."""

from __future__ import annotations

import argparse

DATA_ROOT = "data/ShanghaiTech"
DEMO_ROOT = "data/crowd_demo"
DEFAULT_WORK_DIR = "work_dirs/crowd_counting"
PARTS = ("A", "B", "demo")


def part(text: str) -> str:
    """An argument's `type=` for a part; --part takes all words after it, so that a file there is a likely mistake."""
    if text in PARTS:
        return text
    raise argparse.ArgumentTypeError(
        f"unknown part {text!r}: choose one of {', '.join(PARTS)}; files and folders go before --part"
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --part, --annotations and --data-root, which select the images."""
    add = parser.add_argument
    add(
        "--part",
        type=part,
        nargs="+",
        default=[],
        metavar="A|B|demo",
        help="parts of ShanghaiTech (A B: both together), or the set that crowd_counting/prepare.py --demo draws",
    )
    add(
        "--annotations",
        metavar="FILE",
        help="a different data set: a .json or .csv of points, see crowd_counting/data/points_file.py",
    )
    add("--data-root", metavar="DIR", help=f"folder with part_A and part_B (default {DATA_ROOT}; demo: {DEMO_ROOT})")


def add_empty_argument(parser: argparse.ArgumentParser, *, use: str) -> None:
    """Add --empty, a folder of photos without people.

    Args:
        parser: gets the flag.
        use: what the command does with them, for the help.
    """
    parser.add_argument("--empty", metavar="FOLDER", help=f"photos without people, {use}")


def default_root(part: str | None) -> str:
    """Where a part is unless the user says otherwise: drawn images never lie among real ones."""
    return DEMO_ROOT if part == "demo" else DATA_ROOT


def data_name(arguments: argparse.Namespace) -> str:
    """Name for the data set's output directories: part_A, part_A+part_B, or the stem of the annotation file."""
    from pathlib import Path

    parts = [f"part_{part}" for part in arguments.part]
    names = parts if arguments.annotations is None else [Path(arguments.annotations).stem]
    return "+".join([*names, "empty"] if arguments.empty is not None else names)


def data_words(arguments: argparse.Namespace) -> list[str]:
    """The arguments that select the same images in another command."""
    flags = {
        "--annotations": arguments.annotations,
        "--data-root": arguments.data_root,
        "--empty": arguments.empty,
    }
    parts = ["--part", *arguments.part] if arguments.part else []
    return [*parts, *(word for flag, value in flags.items() if value is not None for word in (flag, value))]
