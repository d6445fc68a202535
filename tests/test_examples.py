"""The example scripts run from beginning to end, as short as they can be."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("classify", ["--epochs", 1, "--scheme", "org"], "classifier.safetensors"),
        ("count", ["--epochs", 1, "--images", 4], "predicted "),
        ("segment", ["--iterations", 2, "--target", "square"], "shape_9000.jpg: "),
    ],
)
def test_example(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    options: list[object],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, options)])
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    out = tmp_path / "work_dirs" / f"example_{name}"
    assert said in capsys.readouterr().out
    with Image.open(out / "seen.png") as picture:
        assert picture.width > 500
    assert {path.name for path in tmp_path.iterdir()} == {"work_dirs"}, "something lies about"
