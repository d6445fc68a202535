"""Two processes of one group on this machine: they run a command, a piece of Python, or a function of a test."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.helpers.processes import ROOT, environment, run_warm, warm_python

START = """\
from ean_core.utils.distributed import *
from ean_core.utils.errors import EANError, command
def main():
    start_processes("pytorch")
    work()
    stop_processes()
"""


def torchrun(script: str, *arguments: object, directory: Path) -> subprocess.CompletedProcess:
    """Run a command of the project in two processes on this machine, as torchrun starts them.

    Args:
        script: relative to the repository's root.
        directory: in which it runs.

    Raises:
        AssertionError: if it fails or passes on another package's warning, with what it printed.
    """
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)
    done = run_warm(*launcher, ROOT / script, *arguments, directory=directory)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Warning:" not in done.stderr, done.stderr
    return done


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


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
                [warm_python(), "-c", f"{body}\n{START}\ncommand(main)()"],
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


def two_forks(work: Callable[[str, int, Path], None], directory: Path) -> None:
    """Run a function of a test module in two gloo processes, as torchrun would start them.

    They are forked from a process that has imported the module and done nothing else: where a test has trained before,
    PyTorch refuses to train in a fork.

    Args:
        work: takes the launcher, the rank and the directory.

    Raises:
        AssertionError: if a process fails, with what both printed.
    """
    name = work.__name__
    code = f"from {work.__module__} import {name}\nfrom {__name__} import fork_ranks\n"
    done = run_warm("-c", f"{code}fork_ranks({name}, {str(directory)!r})")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def fork_ranks(work: Callable[[str, int, Path], None], directory: str) -> None:
    """Fork both processes of `two_forks`, and exit with 1 if one of them fails."""
    context, port = multiprocessing.get_context("fork"), free_port()
    processes = [context.Process(target=as_rank, args=(rank, port, work, Path(directory))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    sys.exit(any(process.exitcode for process in processes))


def as_rank(rank: int, port: int, work: Callable[[str, int, Path], None], directory: Path) -> None:
    """One of the processes of `two_forks`."""
    import torch

    from ean_core.utils.distributed import start_processes, stop_processes

    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", **place)
    torch.set_num_threads(1)
    work(start_processes("auto"), rank, directory)
    stop_processes()
