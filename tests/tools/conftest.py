"""Running a tool's file as a script in this process, which has loaded torch already."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`tool("predict", "a.pth", "b.png")` runs it in the test's directory and gives the exit status."""

    def call(name: str, *arguments: object) -> int:
        monkeypatch.chdir(tmp_path)
        path = TOOLS / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return call
