"""What the commands of all tasks do with their arguments. Nothing heavy is imported: --help must answer at once."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from typing import Any

from ean_core.errors import EANError, unknown_name


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """`["search.steps=50", "model.arch=resnet29"]` to names and values; what is no Python literal is a string."""
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
    known = {"tensorboard": "TensorboardVisBackend", "wandb": "WandbVisBackend"}
    for name in names:
        if name not in known:
            raise unknown_name("log", name, list(known))
        if find_spec(name) is None:
            raise EANError(f"--log {name} needs the package {name}: pip install {name}")
    return tuple(known[name] for name in names)
