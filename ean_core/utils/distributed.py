"""Processes: started by torchrun or SLURM, talking through NCCL on GPUs and gloo on CPUs."""

from __future__ import annotations

import atexit
import os
import subprocess
from collections.abc import Callable

import torch
import torch.distributed as dist

from ean_core.utils.allocator import keep_freed_memory
from ean_core.utils.devices import check_gpu, warn_of_unused_gpu
from ean_core.utils.errors import EANError, SharedError, first_line, sentence
from ean_core.utils.process_agreement import check_start

LAUNCHERS = ("none", "pytorch", "slurm")
FIRST_PORT, PORTS = 10000, 20000
"""Where SLURM jobs meet: below the ports that Linux gives to outgoing connections."""


def start_processes(launcher: str = "auto") -> str:
    """Join the process group that the launcher's variables describe, and keep freed memory (see `allocator`).

    MMEngine's own start assumes a GPU; this one also works on CPUs.

    Args:
        launcher: "none", "pytorch" (torchrun), "slurm", or "auto": torchrun if its variables are set.

    Returns:
        the launcher, as MMEngine's Runner wants it.

    Raises:
        EANError: if the variables describe no group, or processes of different runs or code have met in it.
    """
    if launcher == "auto":
        launcher = _launcher_around()
    if launcher not in LAUNCHERS:
        raise EANError(f"launcher is one of auto, {', '.join(LAUNCHERS)}, got {launcher!r}")
    keep_freed_memory()
    if torch.cuda.is_available():
        check_gpu(int(os.environ.get("LOCAL_RANK", "0")) if launcher == "pytorch" else 0)
    if launcher == "slurm" and not dist.is_initialized():
        _slurm_variables()
    warn_of_unused_gpu()
    if launcher == "none" or dist.is_initialized():
        return launcher
    _join(launcher)
    check_start()
    return launcher


def _launcher_around() -> str:
    """What started this process, by its variables.

    Raises:
        EANError: for several tasks of srun: each would be a run of its own, in one directory.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return "pytorch"
    tasks = os.environ.get("SLURM_NTASKS", "1")
    if "SLURM_PROCID" in os.environ and tasks != "1":
        raise EANError(
            f"SLURM started {tasks} tasks (SLURM_NTASKS), and no launcher was given, so that each would be a run of "
            "its own: give --launcher slurm to let them train together, or start one task (--ntasks=1)"
        )
    return "none"


def _join(launcher: str) -> None:
    """Meet the other processes.

    Raises:
        EANError: if a variable is missing, the port is taken, or nobody answers.
    """
    place = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except (KeyError, ValueError) as missing:
        raise EANError(
            f"launcher {launcher!r} lacks a variable ({first_line(missing)}): start the command with torchrun or srun"
        ) from None
    except RuntimeError as error:
        taken = "EADDRINUSE" in str(error) or "already in use" in str(error)
        why = "the port is taken, by another run perhaps" if taken else first_line(error)
        raise EANError(
            f"the processes cannot meet at {place}: {why}; set MASTER_PORT to a free port, the same for all of them, "
            "and MASTER_ADDR to the first one's machine"
        ) from None
    atexit.register(_leave)  # after an error: torch's own threads would end the process with a crash


def _slurm_variables() -> None:
    """Translate SLURM's variables into those that torch.distributed reads; each job step meets at a port of its own.

    Raises:
        EANError: if this is no task of srun, or the first machine is not known.
    """
    if "SLURM_PROCID" not in os.environ:
        raise EANError("launcher 'slurm' was asked for, but SLURM_PROCID is not set: start the command with srun")
    names = {"PROCID": "RANK", "NTASKS": "WORLD_SIZE", "LOCALID": "LOCAL_RANK", "NTASKS_PER_NODE": "LOCAL_WORLD_SIZE"}
    for theirs, ours in names.items():
        if f"SLURM_{theirs}" in os.environ:
            os.environ.setdefault(ours, os.environ[f"SLURM_{theirs}"])
    if "MASTER_ADDR" not in os.environ and "SLURM_NODELIST" in os.environ:
        os.environ["MASTER_ADDR"] = _first_host(os.environ["SLURM_NODELIST"])
    os.environ.setdefault("MASTER_PORT", str(slurm_port()))


def _first_host(nodes: str) -> str:
    """The first machine of SLURM's short form, as node[01-04].

    Raises:
        EANError: if SLURM's scontrol does not say it.
    """
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        why = first_line(RuntimeError(said.stderr.strip())) if said.returncode or not said.stdout.strip() else None
    except (OSError, subprocess.TimeoutExpired) as error:
        why = first_line(error)
    if why is not None:
        raise EANError(
            f"scontrol does not say which machine comes first in SLURM_NODELIST={nodes} ({why}): set MASTER_ADDR to "
            "its name"
        )
    return said.stdout.split()[0]


def slurm_port() -> int:
    """A port for this job step, the same in all its tasks and, most likely, another one than that of other jobs."""
    job, step = ("".join(filter(str.isdigit, os.environ.get(name, ""))) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return FIRST_PORT + (int(job or 0) * 7 + int(step or 0)) % PORTS


def rank_and_world() -> tuple[int, int]:
    """This process's number, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Whether this process writes files and prints."""
    return rank_and_world()[0] == 0


def first_does(work: Callable[[], object]) -> None:
    """Let the first process do something that only one may do; all go on after it, or all stop with its error.

    Without this the others would wait for ever for a process that has stopped.

    Raises:
        EANError: what `work` raised, in every process.
    """
    error: list[str | None] = [None]
    if is_first():
        try:
            work()
        except (EANError, OSError) as raised:
            error = [sentence(raised)]
    if dist.is_initialized():
        dist.broadcast_object_list(error, src=0)
    if error[0] is not None:
        raise (SharedError if dist.is_initialized() else EANError)(error[0])


def barrier() -> None:
    """Wait for all processes, so that what the first one wrote is there for the others."""
    if dist.is_initialized():
        dist.barrier()


def stop_processes() -> None:
    """Leave the process group, if there is one, when all have come to their end.

    A process that left while another still works would break the connection, and its launcher would end the other.
    """
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _leave() -> None:
    """Leave without waiting: this process ends by an error."""
    if dist.is_initialized() and dist.get_backend() == "gloo":  # NCCL could wait here for what will never come
        dist.destroy_process_group()
