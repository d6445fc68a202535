"""Argument parsing that the commands share. Nothing heavy is imported, so that --help answers at once."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from ean_core.utils.errors import EANError, one_line, unknown_name
from ean_core.utils.wrapping import WrappedHelp

LOG_BACKENDS = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbRun"}
"""Package that --log names -> MMEngine's name of its backend."""


def parse_options(pairs: list[str], *, flag: str = "--cfg-options", example: str = "search.steps=50") -> dict[str, Any]:
    """Names and values from arguments such as ["search.steps=50", "model.arch=resnet29"].

    Args:
        pairs: NAME=VALUE each; a value that is not a Python literal is a string.
        flag, example: for the error.

    Raises:
        EANError: for an argument without a name or without "=".
    """
    options = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise EANError(f"{flag} takes NAME=VALUE, got {pair!r}: for example {example}")
        options[name] = literal(text)
    return options


def literal(text: str) -> Any:
    """The value of a Python literal, such as 50 or [1, 2]; any other text stays as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two for one that is nested too deep
        return text


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, whatever was typed."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and end the process with status 2."""
        super().error(one_line(message))


def make_parser(text: str, *, usage: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A command's parser, whose help fits the terminal (see `wrap_help`).

    Args:
        text: what the command does; begins with examples.
        usage: the arguments, such as "CONFIG [options]".
        epilog: more text, below the options.
    """
    usage = f"%(prog)s {usage}".rstrip()
    return Parser(description=text, epilog=epilog, formatter_class=WrappedHelp, usage=usage)


def add_run_arguments(parser: argparse.ArgumentParser, *, work_dir: str, example: str) -> None:
    """The flags of commands that train: where everything is written, whether it resumes, and how processes start.

    Args:
        parser: gets the flags.
        work_dir: the default work directory, for the help.
        example: of a field that `--cfg-options` replaces, for the help.
    """
    add = parser.add_argument
    add("--work-dir", metavar="DIR", help=f"directory of the run (default {work_dir})")
    add("--resume", action="store_true", help="continue the run in the work directory from where it stopped")
    add("--dry-run", action="store_true", help="time a few steps and estimate the whole; train and write nothing")
    add(
        "--launcher",
        default="auto",
        help="none, pytorch, slurm, or auto (default): pytorch under torchrun, else none",
    )
    add_log(parser)
    add("--cfg-options", nargs="+", default=[], metavar="K=V", help=f"replace recipe fields, such as {example}")


def file_of(suffix: str) -> Callable[[str], Path]:
    """An argument's `type=` for a file to write: any other ending is refused, lest a slip overwrite an image or a
    network."""

    def checked(text: str) -> Path:
        if Path(text).suffix.lower() != suffix:
            raise argparse.ArgumentTypeError(f"the file to write ends with {suffix}, got {text!r}")
        return Path(text)

    return checked


def at_least(least: int) -> Callable[[str], int]:
    """An argument's `type=` for a whole number that is `least` or more."""

    def checked(text: str) -> int:
        try:
            if (value := int(text)) >= least:
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")

    return checked


def seed(text: str) -> int:
    """An argument's `type=` for a seed: a whole number from 0 to 2**32 - 1, as NumPy takes it."""
    if (value := at_least(0)(text)) < 2**32:
        return value
    raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text!r}")


def positive(text: str) -> float:
    """An argument's `type=` for a finite number above 0."""
    try:
        if 0 < (value := float(text)) < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")


def not_negative(text: str) -> float:
    """An argument's `type=` for a finite number of at least 0."""
    try:
        if 0 <= (value := float(text)) < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")


def add_own_attention(parser: argparse.ArgumentParser) -> None:
    """Add --attention, for commands that open a checkpoint: a name in a file never runs code, so the user gives it."""
    parser.add_argument(
        "--attention", metavar="FILE.py:CLASS", help="your own attention class, for a checkpoint that needs it"
    )


def load_attention(reference: str | None) -> str | None:
    """Import the class that `--attention` names, if it is one of the user's own; see `ean_core.attention.load`."""
    if reference is None:
        return None
    from ean_core.attention import load

    return load(reference)


def add_log(parser: argparse.ArgumentParser) -> None:
    """Add --log, the flag of commands that train."""
    parser.add_argument("--log", nargs="*", default=[], metavar="WHERE", help="also log to tensorboard, wandb, or both")


def backends_of(names: list[str]) -> tuple[str, ...]:
    """MMEngine's names of the logging backends that --log names.

    Raises:
        EANError: for an unknown name, or one whose package is not installed.
    """
    for name in names:
        if name not in LOG_BACKENDS:
            raise unknown_name("log", name, list(LOG_BACKENDS))
        package = find_spec(name)
        if package is None or package.origin is None:  # without origin: a folder of that name, as wandb leaves behind
            raise EANError(f"--log {name} needs the package {name}: pip install {name}")
    return tuple(LOG_BACKENDS[name] for name in names)
