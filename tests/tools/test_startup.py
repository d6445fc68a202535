"""Commands answer at once: --help imports nothing that takes a second."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = {"torch", "torchvision", "mmengine", "matplotlib", "scipy", "sklearn", "cv2", "timm"}
SCRIPTS = sorted(
    str(script.relative_to(ROOT))
    for folder in ("tools", "crowd_counting", "segmentation", "benchmarks")
    for script in (ROOT / folder).glob("[!_]*.py")
    if '__name__ == "__main__"' in script.read_text()
)


def imported(*command: str) -> tuple[str, set[str]]:
    """What a Python command prints, and the packages that it imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(re.findall(r"\| +([a-zA-Z_0-9]+)$", done.stderr, re.MULTILINE))


def test_there_are_commands() -> None:
    assert {"tools/search.py", "tools/train_cls.py", "crowd_counting/train.py", "benchmarks/scoring.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_there_at_once(script: str) -> None:
    text, packages = imported(script, "--help")
    assert "example" in text[:400]
    assert not packages & HEAVY


def test_the_package_imports_at_once() -> None:
    assert not imported("-c", "import ean_core")[1] & HEAVY
