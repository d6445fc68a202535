"""Read a recipe: a .py file is executed, a .yaml or .json file is data only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from ean_core.utils.errors import EANError, first_line
from ean_core.utils.regular_file import check_regular

DATA = (".yaml", ".yml", ".json")
_ADVICE = "see the recipes in classification/configs/"
DEEPEST = 50
"""Maximum nesting depth; recipes have three levels."""

_STARTS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_ENDS = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_IMPORTS = ("_base_", "custom_imports")  # fields with which a recipe names other files to execute
_CLASS = re.compile(r".*\.py:\w.*|(?!timm:)[\w.]+:[A-Z]\w*(:.*)?")


def read_recipe_file(path: str | Path, *, import_custom_modules: bool = True) -> Config:
    """Read a recipe.

    Args:
        path: of the file. A .py file is executed, and so are its base files and imports.
        import_custom_modules: whether to import a .py recipe's custom_imports.

    Raises:
        EANError: if a data file is damaged, or names code to execute.
        Exception: whatever a .py recipe raises.
    """
    path = Path(path)
    if path.suffix.lower() not in DATA:
        return Config.fromfile(path, import_custom_modules=import_custom_modules)
    content = _parse(path)
    if not isinstance(content, dict):
        raise EANError(f"recipe {path} has no sections: {_ADVICE}")
    for name in _IMPORTS:
        if name in content:
            raise EANError(f"recipe {path} has {name}, but a {path.suffix} recipe cannot run code: use a .py file")
    for value in _texts(content):
        if _CLASS.fullmatch(value):
            raise EANError(
                f"recipe {path} names the class {value}, but a {path.suffix} recipe cannot run code: give it with "
                "--attention or --method, or write the recipe as a .py file"
            )
    return Config(content, filename=str(path))


def _parse(path: Path) -> Any:
    """Parse YAML (a superset of JSON) safely; aliases are refused, since they can expand without limit.

    Raises:
        EANError: for a file that is damaged.
    """
    check_regular(path, what="recipe", advice=_ADVICE)
    try:
        text = path.read_text(encoding="utf-8-sig")
        depth = 0
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            depth += isinstance(token, _STARTS) - isinstance(token, _ENDS)
            if isinstance(token, yaml.AliasToken):
                raise EANError(f"recipe {path} has aliases (*name): write their values out")
            if depth > DEEPEST:
                raise EANError(f"recipe {path} is nested deeper than {DEEPEST} levels: {_ADVICE}")
        if repeated := _repeated(yaml.compose(text, Loader=yaml.SafeLoader)):
            raise EANError(f"recipe {path} gives {repeated!r} twice in one section: give it once")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: also of the encoding
        if isinstance(error, EANError):
            raise
        raise EANError(f"recipe {path} cannot be read as {path.suffix[1:]} ({first_line(error)}): {_ADVICE}") from None


def _repeated(node: yaml.Node | None) -> str | None:
    """A name that a section gives twice; of its values, YAML would drop the first."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    names = [name.value for name, _ in pairs if isinstance(name, yaml.ScalarNode)]
    parts = [value for _, value in pairs] if pairs else node.value if isinstance(node, yaml.SequenceNode) else ()
    twice = (name for name in names if names.count(name) > 1)
    return next(twice, None) or next(filter(None, map(_repeated, parts)), None)


def _texts(value: Any) -> Iterator[str]:
    """Yield all strings in nested lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
