"""Reading a recipe: a .py file is a program and runs, a .yaml or .json file is data and cannot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from ean_core.utils.errors import EANError, first_line

DATA = (".yaml", ".yml", ".json")
_ADVICE = "see the recipes in classification/configs/"
DEEPEST = 50
"""Sections inside of sections; recipes have three."""

_STARTS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_IMPORTS = ("_base_", "custom_imports")  # by which a recipe names other files that run
_CLASS = re.compile(r".*\.py:\w+|(?!timm:)[\w.]+:[A-Z]\w*")


def read_recipe_file(path: str | Path, *, import_custom_modules: bool = True) -> Config:
    """The content of a recipe.

    Args:
        path: of the file. A .py file is run, and so are those it is based on and those it imports.
        import_custom_modules: whether what a .py recipe names in custom_imports is imported.

    Raises:
        EANError: if a file of data is damaged, or names anything that would have to be run.
        Exception: whatever a .py recipe raises.
    """
    path = Path(path)
    if path.suffix.lower() not in DATA:
        return Config.fromfile(path, import_custom_modules=import_custom_modules)
    content = _parse(path)
    if not isinstance(content, dict):
        raise EANError(f"recipe {path} holds no sections: {_ADVICE}")
    for name in _IMPORTS:
        if name in content:
            raise EANError(f"recipe {path} has {name}, and a {path.suffix} recipe runs nothing: write it as a .py file")
    for value in _texts(content):
        if _CLASS.fullmatch(value):
            raise EANError(
                f"recipe {path} names the class {value}, and a {path.suffix} recipe runs nothing: give it with "
                "--attention, or write the recipe as a .py file"
            )
    return Config(content, filename=str(path))


def _parse(path: Path) -> Any:
    """YAML's plain values, JSON's among them; anything else is refused, and so are aliases, which can grow without end.

    Raises:
        EANError: for a file that is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        depth = 0
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            depth += isinstance(token, _STARTS) - isinstance(token, _ENDS)
            if isinstance(token, yaml.AliasToken):
                raise EANError(f"recipe {path} has aliases (*name): write their values out")
            if depth > DEEPEST:
                raise EANError(f"recipe {path} is nested deeper than {DEEPEST} levels: {_ADVICE}")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: also of the encoding
        if isinstance(error, EANError):
            raise
        raise EANError(f"recipe {path} cannot be read as {path.suffix[1:]} ({first_line(error)}): {_ADVICE}") from None


def _texts(value: Any) -> Iterator[str]:
    """All texts in nested lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
