"""The environment of the commands that tests start, and the Python that runs them."""

from __future__ import annotations

import atexit
import os
import shlex
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WARM_PYTHON = Path(__file__).with_name("warm_python.py")


def python_path() -> str:
    """The project, then what the caller's own PYTHONPATH adds: on some machines a dependency is nowhere else."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with the project on PYTHONPATH, one thread, and the changes."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(), **changes}


@cache
def warm_python() -> str:
    """An executable that takes a program as `python` does, and runs it in a fork of a process that has imported torch.

    For commands without a GPU whose own imports are not what is tested. Without `os.pidfd_open` it is `python`.
    """
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    folder = tempfile.TemporaryDirectory(prefix="warm")
    address, launcher = Path(folder.name, "socket"), Path(folder.name, "python")
    client = shlex.join([sys.executable, "-S", "-E", str(WARM_PYTHON), str(address)])
    launcher.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    launcher.chmod(0o755)
    command = [sys.executable, str(WARM_PYTHON), "serve", str(address)]
    # torch reads its log level when it is imported: ean_core.utils.startup.prepare sets it too late for this process.
    variables = environment(CUDA_VISIBLE_DEVICES="", TORCH_CPP_LOG_LEVEL="ERROR")
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables)

    def stop() -> None:
        server.stdin.close()
        server.wait(timeout=60)
        folder.cleanup()

    atexit.register(stop)
    while not address.exists():
        assert server.poll() is None, "the server of warm_python.py has ended"
        time.sleep(0.02)
    return str(launcher)
