"""Distributed processes: started by torchrun or SLURM; NCCL on GPUs and gloo on CPUs."""

from __future__ import annotations

import atexit
import os
import subprocess
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from ean_core.utils.allocator import keep_freed_memory
from ean_core.utils.devices import check_gpu, warn_of_unused_gpu
from ean_core.utils.errors import EANError, SharedError, first_line, sentence
from ean_core.utils.process_agreement import check_start

LAUNCHERS = ("none", "pytorch", "slurm")
FIRST_PORT, PORTS = 10000, 20000
"""Where SLURM jobs meet: below the ports that Linux gives to outgoing connections."""


_joined = False


def joined_group() -> bool:
    """Whether this process has met others, also if it has left them since."""
    return _joined


def start_processes(launcher: str = "auto") -> str:
    """Join the process group described by the launcher's environment, and keep freed memory (see `allocator`).

    Unlike MMEngine's `init_dist`, it also works on CPUs.

    Args:
        launcher: "none", "pytorch" (torchrun), "slurm", or "auto": torchrun if its variables are set.

    Returns:
        the launcher, as MMEngine's Runner expects it.

    Raises:
        EANError: if the variables describe no group, or its processes belong to different runs or versions of the code.
    """
    if launcher == "auto":
        launcher = _launcher_around()
    if launcher not in LAUNCHERS:
        raise EANError(f"launcher must be one of auto, {', '.join(LAUNCHERS)}, got {launcher!r}")
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
        reason = "the port is in use, perhaps by another run" if taken else first_line(error)
        raise EANError(
            f"the processes cannot meet at {place}: {reason}; set MASTER_PORT to a free port, the same for all, "
            "and MASTER_ADDR to the first one's machine"
        ) from None
    global _joined
    _joined = True
    atexit.register(_leave)  # after an error: torch's own threads would end the process with a crash


def _slurm_variables() -> None:
    """Translate SLURM's variables into those that torch.distributed reads; each job step gets its own port.

    Raises:
        EANError: if this is not a task of srun, or the first host is unknown.
    """
    if "SLURM_PROCID" not in os.environ:
        raise EANError("launcher 'slurm' was given, but SLURM_PROCID is not set: start the command with srun")
    names = {"PROCID": "RANK", "NTASKS": "WORLD_SIZE", "LOCALID": "LOCAL_RANK", "NTASKS_PER_NODE": "LOCAL_WORLD_SIZE"}
    for slurm_name, name in names.items():
        if f"SLURM_{slurm_name}" in os.environ:
            os.environ.setdefault(name, os.environ[f"SLURM_{slurm_name}"])
    if "MASTER_ADDR" not in os.environ and "SLURM_NODELIST" in os.environ:
        os.environ["MASTER_ADDR"] = _first_host(os.environ["SLURM_NODELIST"])
    os.environ.setdefault("MASTER_PORT", str(slurm_port()))


def _first_host(nodes: str) -> str:
    """The first host of SLURM's node list, such as node[01-04].

    Raises:
        EANError: if scontrol fails.
    """
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        reason = (
            first_line(RuntimeError(result.stderr.strip())) if result.returncode or not result.stdout.strip() else None
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = first_line(error)
    if reason is not None:
        raise EANError(
            f"scontrol does not say which machine comes first in SLURM_NODELIST={nodes} ({reason}): set MASTER_ADDR to "
            "its name"
        )
    return result.stdout.split()[0]


def slurm_port() -> int:
    """A port for this job step, the same in all its tasks and most likely unused by other jobs."""
    job, step = ("".join(filter(str.isdigit, os.environ.get(name, ""))) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return FIRST_PORT + (int(job or 0) * 7 + int(step or 0)) % PORTS


def rank_and_world() -> tuple[int, int]:
    """Rank and world size; (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_main_process() -> bool:
    """Whether this is the first process, which writes files and prints."""
    return rank_and_world()[0] == 0


def run_on_main_process(work: Callable[[], object]) -> None:
    """Run `work` on the first process only; then all continue, or all stop with its error.

    Otherwise the others would wait for ever for a process that has stopped.

    Raises:
        EANError: the error of `work`, in every process. An error that is neither an `EANError` nor an `OSError`, a bug,
            stays as it is in the first one.
    """
    error: list[str | None] = [None]
    bug: Exception | None = None
    if is_main_process():
        try:
            work()
        except (EANError, OSError) as raised:
            error = [sentence(raised)]
        except Exception as raised:
            error, bug = [f"the first process stopped ({first_line(raised)})"], raised
    if dist.is_initialized():
        dist.broadcast_object_list(error, src=0)
    if bug is not None:
        raise bug
    if error[0] is not None:
        raise (SharedError if dist.is_initialized() else EANError)(error[0])


def take_from_main_process(values: Tensor) -> None:
    """Replace a tensor by the main process's, in place; nothing happens with one process."""
    if dist.is_initialized():
        dist.broadcast(values, src=0)


def barrier() -> None:
    """Wait for all processes, for example until files of the first one are written."""
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
