"""Commands that tests start find what the tests find."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT, environment, python_path


def test_the_callers_modules_are_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("import ean_core\nprint(ean_core.__file__)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = [sys.executable, "-c", "import only_here"]
    done = subprocess.run(code, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(ROOT)
    assert environment(OMP_NUM_THREADS="2")["OMP_NUM_THREADS"] == "2"
    monkeypatch.delenv("PYTHONPATH")
    assert python_path() == str(ROOT)
    assert os.environ.get("PYTHONPATH") is None


def test_no_test_replaces_the_path() -> None:
    setting = re.compile(r"\"PYTHONPATH\": (?!python_path\(\))")
    files = (ROOT / "tests").rglob("*.py")
    assert [str(one) for one in files if setting.search(one.read_text()) and one.name != Path(__file__).name] == []
