"""Distributed processes: started by torchrun or SLURM; NCCL on GPUs and gloo on CPUs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import torch
import torch.distributed as dist

from ean_core.utils.allocator import keep_freed_memory
from ean_core.utils.devices import check_gpu, warn_of_unused_gpu
from ean_core.utils.errors import EANError, first_line, sentence

LAUNCHERS = ("none", "pytorch", "slurm")


def start_processes(launcher: str = "auto") -> str:
    """Join the process group described by the launcher's environment, and keep freed memory (see `allocator`).

    Unlike MMEngine's `init_dist`, it also works on CPUs.

    Args:
        launcher: "none", "pytorch" (torchrun), "slurm", or "auto": torchrun if its variables are set.

    Returns:
        the launcher, as MMEngine's Runner expects it.
    """
    if launcher == "auto":
        launcher = "pytorch" if "RANK" in os.environ and "WORLD_SIZE" in os.environ else "none"
    if launcher not in LAUNCHERS:
        raise EANError(f"launcher must be one of auto, {', '.join(LAUNCHERS)}, got {launcher!r}")
    keep_freed_memory()
    if torch.cuda.is_available():
        check_gpu(int(os.environ.get("LOCAL_RANK", "0")) if launcher == "pytorch" else 0)
    warn_of_unused_gpu()
    if launcher == "none" or dist.is_initialized():
        return launcher
    if launcher == "slurm":
        _slurm_variables()
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except (KeyError, ValueError) as missing:
        raise EANError(
            f"launcher {launcher!r} lacks a variable ({first_line(missing)}): start the command with torchrun or srun"
        ) from None
    return launcher


def _slurm_variables() -> None:
    """Translate SLURM's variables into those that torch.distributed reads."""
    if "SLURM_PROCID" not in os.environ:
        raise EANError("launcher 'slurm' was given, but SLURM_PROCID is not set: start the command with srun")
    names = {"PROCID": "RANK", "NTASKS": "WORLD_SIZE", "LOCALID": "LOCAL_RANK", "NTASKS_PER_NODE": "LOCAL_WORLD_SIZE"}
    for slurm_name, name in names.items():
        if f"SLURM_{slurm_name}" in os.environ:
            os.environ.setdefault(name, os.environ[f"SLURM_{slurm_name}"])
    if "MASTER_ADDR" not in os.environ and "SLURM_NODELIST" in os.environ:
        command = ["scontrol", "show", "hostnames", os.environ["SLURM_NODELIST"]]
        names = subprocess.run(command, capture_output=True, text=True, check=True)
        os.environ["MASTER_ADDR"] = names.stdout.splitlines()[0]
    os.environ.setdefault("MASTER_PORT", "29500")


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
        EANError: the error of `work`, in every process.
    """
    error: list[str | None] = [None]
    if is_main_process():
        try:
            work()
        except (EANError, OSError) as raised:
            error = [sentence(raised)]
    if dist.is_initialized():
        dist.broadcast_object_list(error, src=0)
    if error[0] is not None:
        raise EANError(error[0])


def barrier() -> None:
    """Wait for all processes, for example until files of the first one are written."""
    if dist.is_initialized():
        dist.barrier()


def stop_processes() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
