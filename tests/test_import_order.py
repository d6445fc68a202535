"""The order of the rooms: imports run downwards only, nothing goes in a circle, and `ean_core` imports no task."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

CORE = (
    "utils",
    "io",
    "scheme",
    "data",
    "attention",
    "cli",
    "networks",
    "deploy",
    "benchmark",
    "supernet",
    "search",
    "training",
    "inference",
    "report",
    "pipeline",
)
TASKS = ("classification", "crowd_counting", "segmentation")
ORDER = (*CORE, *TASKS, "tools")
"""A room imports itself and those before it; tasks do not import each other. Annotations and lazy imports count too."""


def module_name(path: Path) -> str:
    """`ean_core/io/records.py` -> `ean_core.io.records`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    """Every module of the packages and the tools, by name."""
    folders = ("ean_core", *TASKS, "tools")
    return {module_name(path): path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))}


def names_in(path: Path) -> Iterator[str]:
    """Every dotted name that a file imports, whether at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports() -> dict[str, set[str]]:
    """Module -> the project's modules that it imports."""

    def owner(name: str) -> str | None:
        return name if name in modules() else name.rpartition(".")[0]

    return {
        module: {owner(name) for name in names_in(path) if owner(name) in modules()} - {module}
        for module, path in modules().items()
    }


def room(module: str) -> str:
    """`ean_core.io.records` -> "io"; `ean_core` itself hands out names of all rooms, and is in none."""
    parts = module.split(".")
    return parts[1] if parts[0] == "ean_core" and len(parts) > 1 else parts[0]


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(module) for module in modules()} == {"ean_core", *ORDER}


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_downwards(name: str) -> None:
    above = set(ORDER[ORDER.index(name) + 1 :]) | (set(TASKS) - {name} if name in TASKS else set())
    upwards = [
        f"{module} imports {imported}"
        for module, of_module in imports().items()
        for imported in of_module
        if room(module) == name and room(imported) in above
    ]
    assert not upwards


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The names of a circle, the first one twice; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other() -> None:
    assert find_circle({"a": {"b"}, "b": {"a"}})
    assert not find_circle(imports())


def test_the_core_names_no_task_in_a_string() -> None:
    """As "crowd_counting.loaded_counter:load_counter" would: an import that the other tests do not see."""
    named = [
        f"{module}, line {node.lineno}: {node.value}"
        for module, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if module.startswith("ean_core")
        and isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and any(f"{task}." in node.value and "\n" not in node.value for task in TASKS)
    ]
    assert not named
