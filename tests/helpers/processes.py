"""The environment of the commands that tests start."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def python_path() -> str:
    """The project, then what the caller's own PYTHONPATH adds: on some machines a dependency is nowhere else."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with the project on PYTHONPATH, one thread, and the changes."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(), **changes}
