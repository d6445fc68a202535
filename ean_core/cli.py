"""What the commands of all tasks do with their arguments. Nothing heavy is imported: --help must answer at once."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ean_core.utils.errors import EANError, unknown_name


def parse_options(pairs: list[str], *, flag: str = "--cfg-options", example: str = "search.steps=50") -> dict[str, Any]:
    """`["search.steps=50", "model.arch=resnet29"]` to names and values; what is no Python literal is a string."""
    options = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise EANError(f"{flag} takes NAME=VALUE, got {pair!r}: for example {example}")
        options[name] = literal(text)
    return options


def literal(text: str) -> Any:
    """A Python literal's value; the text itself where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def file_of(suffix: str) -> Callable[[str], Path]:
    """For `type=` of an argument that names a file to write: another ending is refused, as a photo's or a network's
    file would be lost by a slip."""

    def checked(text: str) -> Path:
        if Path(text).suffix.lower() != suffix:
            raise argparse.ArgumentTypeError(f"the file to write ends with {suffix}, got {text!r}")
        return Path(text)

    return checked


def at_least(least: int) -> Callable[[str], int]:
    """For `type=` of an argument that is a whole number from `least` on."""

    def checked(text: str) -> int:
        try:
            if (value := int(text)) >= least:
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")

    return checked


def seed(text: str) -> int:
    """`type=` of a seed, which NumPy wants in 32 bits."""
    if (value := at_least(0)(text)) < 2**32:
        return value
    raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**32 - 1}, got {text!r}")


def positive(text: str) -> float:
    """`type=` of an argument that is a number above 0."""
    try:
        if 0 < (value := float(text)) < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")


def add_own_attention(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that open a checkpoint: a name in a file never runs code, so that the user must say it."""
    parser.add_argument("--attention", metavar="FILE.py:CLASS", help="your own class, for a checkpoint that needs it")


def load_attention(reference: str | None) -> str | None:
    """Import the class that `--attention` names, if it is one of the user's own; see `ean_core.attention.load`."""
    if reference is None:
        return None
    from ean_core.attention import load

    return load(reference)


def add_log(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that train."""
    parser.add_argument("--log", nargs="*", default=[], metavar="WHERE", help="also log to tensorboard, wandb")


def backends_of(names: list[str]) -> tuple[str, ...]:
    """MMEngine's names of the logging backends, checked for their packages."""
    known = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbRun"}
    for name in names:
        if name not in known:
            raise unknown_name("log", name, list(known))
        found = find_spec(name)
        if found is None or found.origin is None:  # without origin: a folder of that name, as wandb leaves behind
            raise EANError(f"--log {name} needs the package {name}: pip install {name}")
    return tuple(known[name] for name in names)
