"""Arguments that the classification commands share. Nothing heavy is imported here: --help must answer at once."""

from __future__ import annotations

import argparse
import ast
from typing import Any


def add_common(parser: argparse.ArgumentParser, *, work_dir: str) -> None:
    """Where, on what and how: the same flags with the same meaning in every command."""
    add = parser.add_argument
    add("--attention", help="se, sge, dia: replaces the recipe's")
    add("--data-root", default="data", metavar="DIR", help="where the data sets are (default data)")
    add("--work-dir", metavar="DIR", help=f"where everything is written (default {work_dir})")
    add("--resume", action="store_true", help="go on with an interrupted run in the work directory")
    add("--launcher", default="auto", help="auto (torchrun if it started us), none, pytorch, slurm")
    add("--log", nargs="*", default=[], metavar="WHERE", help="also log to tensorboard, wandb")
    add("--cfg-options", nargs="+", default=[], metavar="K=V", help="replace recipe fields, as search.steps=50")


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """`["search.steps=50", "model.arch=resnet29"]` to names and values; what is no Python literal is a string."""
    from ean_core.errors import EANError

    options = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise EANError(f"--cfg-options takes NAME=VALUE, got {pair!r}: for example search.steps=50")
        try:
            options[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            options[name] = text
    return options


def backends_of(names: list[str]) -> tuple[str, ...]:
    """MMEngine's names of the logging backends, checked for their packages."""
    from importlib.util import find_spec

    from ean_core.errors import EANError, unknown_name

    known = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbVisBackend"}
    for name in names:
        if name not in known:
            raise unknown_name("log", name, list(known))
        if find_spec(name) is None:
            raise EANError(f"--log {name} needs the package {name}: pip install {name}")
    return tuple(known[name] for name in names)
