"""The tools as a user calls them, in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Script


@pytest.fixture
def tool(script: Script) -> Script:
    """`tool("predict", "a.pth", "b.png")` runs tools/predict.py."""
    return lambda name, *arguments: script(f"tools/{name}.py", *arguments)


@pytest.fixture
def in_process(tool: Script) -> Script:
    """`in_process("--arch", "resnet20")` runs tools/benchmark.py."""
    return lambda *arguments: tool("benchmark", *arguments)


@pytest.fixture
def refused(tool: Script, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`refused("predict", "none.pth")` expects exit status 2, and gives the sentence that is printed last."""

    def call(name: str, *arguments: object) -> str:
        assert tool(name, *arguments) == 2
        last = capsys.readouterr().err.strip().splitlines()[-1]
        assert "error: " in last
        return last

    return call
