"""Two processes of one group on this machine, each running a piece of Python of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.helpers.processes import environment

START = """\
from ean_core.utils.distributed import *
from ean_core.utils.errors import EANError, command
def main():
    start_processes("pytorch")
    work()
    stop_processes()
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def two_ranks(
    work: str, *, directories: tuple[Path, Path], variables: tuple[Mapping[str, str], ...] = ({}, {})
) -> list[subprocess.CompletedProcess]:
    """Run the body of a function in two gloo processes, as a command of the project runs.

    Args:
        work: Python, indented by nothing; sees what `ean_core.utils.distributed` has, and is run after the start.
        directories: each process's own.
        variables: of each process's environment, beside a launcher's.

    Returns:
        both, in the order of the ranks.
    """
    body = "def work():\n" + "".join(f"    {line}\n" for line in work.splitlines())
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank, (directory, own) in enumerate(zip(directories, variables, strict=True)):
        changes = {**launch, "RANK": str(rank), "LOCAL_RANK": str(rank), "CUDA_VISIBLE_DEVICES": "", **own}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", f"{body}\n{START}\ncommand(main)()"],
                cwd=directory,
                env=environment(**changes),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    done = []
    try:
        for process in started:
            out, err = process.communicate(timeout=120)
            done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
    finally:
        for process in started:
            process.kill()
    return done
