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
SOCKET = "socket"
"""At which the server of `warm_python.py` listens, beside its launcher."""
SHARED = "EAN_TESTS_WARM_PYTHON"
"""Environment variable with the launcher of a server that several processes share."""

SET_BY_LIBRARIES = ("LD_LIBRARY_PATH", "TORCHINDUCTOR_CACHE_DIR")
"""Environment variables that OpenCV and PyTorch set in a process that imports them."""
STARTED = {name: os.environ.get(name) for name in SET_BY_LIBRARIES}
"""Their values before that."""


def python_path() -> str:
    """The project, then what the caller's own PYTHONPATH adds: on some machines a dependency is nowhere else."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what libraries set, with the project on PYTHONPATH, one thread and changes."""
    inherited = {name: value for name, value in os.environ.items() if name not in SET_BY_LIBRARIES}
    as_started = {name: value for name, value in STARTED.items() if value is not None}
    return {**inherited, **as_started, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(), **changes}


def start_warm_python() -> Path:
    """Start the server of `warm_python.py`, which ends with this process, and give the launcher of its programs."""
    folder = tempfile.TemporaryDirectory(prefix="warm")
    launcher = Path(folder.name, "python")
    address = str(launcher.with_name(SOCKET))
    client = shlex.join([sys.executable, "-S", "-E", str(WARM_PYTHON), address])
    launcher.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    launcher.chmod(0o755)
    command = [sys.executable, str(WARM_PYTHON), "serve", address]
    # torch reads its log level when it is imported: ean_core.utils.startup.prepare sets it too late for this process.
    variables = environment(CUDA_VISIBLE_DEVICES="", TORCH_CPP_LOG_LEVEL="ERROR")
    server = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables)

    def stop() -> None:
        server.stdin.close()
        server.wait(timeout=60)
        folder.cleanup()

    atexit.register(stop)
    return launcher


def share_warm_python() -> None:
    """Let the processes that this one starts have one server between them, which gets ready while they do."""
    if hasattr(os, "pidfd_open"):
        os.environ[SHARED] = str(start_warm_python())


@cache
def warm_python() -> str:
    """An executable that takes a program as `python` does, and runs it in a fork of a process that has imported torch.

    For commands without a GPU whose own imports are not what is tested. Without `os.pidfd_open` it is `python`.
    """
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    launcher = Path(os.environ[SHARED]) if SHARED in os.environ else start_warm_python()
    deadline = time.monotonic() + 600
    while not launcher.with_name(SOCKET).exists():
        assert time.monotonic() < deadline, "the server of warm_python.py does not answer"
        time.sleep(0.02)
    return str(launcher)


def run_warm(
    *arguments: object, directory: Path | None = None, given: str | None = None, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run a program with `warm_python`, and capture what it prints.

    Args:
        arguments: a script, -m MODULE or -c CODE, and the program's own.
        directory: in which it runs.
        given: to read from standard input.
        changes: of the environment.
    """
    return subprocess.run(
        [warm_python(), *map(str, arguments)],
        cwd=directory,
        env=environment(CUDA_VISIBLE_DEVICES="", **changes),
        input=given,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
