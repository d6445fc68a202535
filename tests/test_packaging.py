"""The lists of dependencies are complete, and the files about the project belong together."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

import ean_core
from ean_core.cli import LOG_BACKENDS
from tests.conftest import ROOT
from tools.__main__ import VERBS

PACKAGES = ("ean_core", "classification", "crowd_counting", "segmentation", "tools")
HERE = {*PACKAGES, "triton", "huggingface_hub"}  # triton comes with torch where there is a GPU, the hub with timm
ON_INDEX = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "mmcv": "onedl-mmcv",
    "mmengine": "onedl-mmengine",
    "mmseg": "onedl-mmsegmentation",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Import names that differ from their packages' names."""


def setup_lists() -> tuple[set[str], dict[str, set[str]]]:
    """The required packages and the extras of setup.py, by name without bounds."""
    calls: dict = {}
    text = (ROOT / "setup.py").read_text(encoding="utf-8").replace("__file__", repr(str(ROOT / "setup.py")))
    text = re.sub(r"^from setuptools import .*$", "", text, flags=re.MULTILINE)
    exec(text, {"find_packages": lambda **_: [], "setup": lambda **given: calls.update(given)})

    def names(lines: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in lines}

    return names(calls["install_requires"]), {extra: names(lines) for extra, lines in calls["extras_require"].items()}


def imported(path: Path) -> Iterator[str]:
    """The packages that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def required_by_call(path: Path) -> Iterator[tuple[str, str]]:
    """(package, extra) of every call of `require`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
            extra = next(word.value.value for word in node.keywords if word.arg == "extra")
            yield from ((argument.value, extra) for argument in node.args)


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_every_import_is_required_or_in_an_extra() -> None:
    required, extras = setup_lists()
    names = {name for path in sources() for name in imported(path)} - HERE - set(sys.stdlib_module_names)
    packages = {name: ON_INDEX.get(name, name.replace("_", "-")).lower() for name in names}
    missing = {name for name, package in packages.items() if package not in required | extras["all"]}
    assert not missing


def test_the_extras_are_those_that_messages_name() -> None:
    _, extras = setup_lists()
    calls = [call for path in sources() for call in required_by_call(path)]
    assert len(calls) > 5
    assert not [(package, extra) for package, extra in calls if package not in extras[extra]]
    assert set(LOG_BACKENDS) <= extras["log"]
    others = set().union(*(names for extra, names in extras.items() if extra not in ("all", "dev")))
    assert extras["all"] == others <= extras["dev"]


def test_every_script_is_a_verb() -> None:
    scripts = {
        path.relative_to(ROOT).as_posix()
        for folder in ("tools", "crowd_counting", "segmentation")
        for path in (ROOT / folder).glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8") and path.name != "__main__.py"
    }
    makes_a_record_here = {"segmentation/summary.py"}
    assert {verb.script for verb in VERBS.values()} == scripts - makes_a_record_here


def test_citation_license_and_changelog() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == ean_core.__version__
    assert citation["preferred-citation"]["title"].startswith("Efficient Attention Network: Accelerate Attention")
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert f"## {ean_core.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_make_help_lists_every_target() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert all(re.search(rf"^make {target} ", done.stdout, re.MULTILINE) for target in targets)
