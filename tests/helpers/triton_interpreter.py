"""Triton kernels on a CPU, through Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def interpreted(code: str) -> None:
    """Run Python in a process whose Triton interprets; it must be told before the kernels are defined."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    if "only 0-dimensional arrays can be converted" in done.stderr:  # Triton 3.6 with NumPy 2.4
        pytest.skip("the interpreter of this Triton cannot run loops with this NumPy")
    assert done.returncode == 0, done.stderr
