"""Triton kernels on a CPU, through Triton's interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.processes import environment


def interpreted(code: str) -> None:
    """Run Python in a process whose Triton interprets; it must be told before the kernels are defined."""
    command, variables = [sys.executable, "-c", code], environment(TRITON_INTERPRET="1")
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240)
    if "only 0-dimensional arrays can be converted" in done.stderr:  # Triton 3.6 with NumPy 2.4
        pytest.skip("the interpreter of this Triton cannot run loops with this NumPy")
    assert done.returncode == 0, done.stderr
