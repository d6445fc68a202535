"""The command line that the comparisons share; nothing here takes time to import."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ean_core.cli import at_least, file_of
from ean_core.utils.files import free_path


def parser(
    text: str, *, quick: str, output: Path | None, output_help: str = "the record", threads: str = "torch's choice"
) -> argparse.ArgumentParser:
    """A parser with the options that every comparison has.

    Args:
        text: shown above the options, beginning with an example.
        quick: what `--quick` makes small.
        output: the default of `--output`, numbered where there is one; None for one that depends on other options.
        output_help: of `--output`.
        threads: how many there are without `--threads`.
    """
    raw = argparse.RawDescriptionHelpFormatter
    argument_parser = argparse.ArgumentParser(description=text, formatter_class=raw, usage="%(prog)s [options]")
    argument_parser.add_argument(
        "--threads", type=at_least(0), default=0, metavar="N", help=f"CPU threads of every side (default: {threads})"
    )
    argument_parser.add_argument(
        "--output", type=file_of(".json"), default=output and free_path(output), metavar="JSON", help=output_help
    )
    argument_parser.add_argument("--quick", action="store_true", help=f"test the script: {quick}")
    return argument_parser


def add_sides(to: argparse.ArgumentParser, sides: Sequence[str], *, default: Sequence[str]) -> None:
    """`--sides`, which of them to compare, and the option by which the script starts one of them."""
    to.add_argument(
        "--sides",
        nargs="+",
        default=list(default),
        choices=sides,
        help=f"sides to compare with plain (default {' '.join(default)})",
    )
    to.add_argument("--side", choices=sides, help=argparse.SUPPRESS)
