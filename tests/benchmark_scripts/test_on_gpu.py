"""The script with all figures that need a GPU: what it names is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ean_core.deploy.modes import SETTINGS
from tests.conftest import ROOT

SCRIPT = ROOT / "benchmarks/on_gpu.sh"


def test_every_file_that_it_names_is_there() -> None:
    words = set(re.findall(r"(?:benchmarks|tests|tools|schemes|classification)/[\w./]+", SCRIPT.read_text()))
    assert len(words) > 15
    missing = {word for word in words if not (ROOT / word).exists()}
    assert not missing


def test_every_form_that_it_measures_is_known() -> None:
    lines = re.findall(r"(?:network \d+ \w+ \d+ \w+|GRAPHS=\"|--settings) ?([\w ]+)", SCRIPT.read_text())
    names = {name for line in lines for name in line.split()}
    assert {"cuda_graph", "fused", "compiled"} <= names <= {*SETTINGS}


@pytest.mark.parametrize("arguments", [[], ["6"]])
def test_without_a_part_it_does_nothing(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(["bash", SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "which part, 1 to 5" in done.stderr
    assert not list(tmp_path.iterdir())
