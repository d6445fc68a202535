"""Processes: started by torchrun or SLURM, talking through NCCL on GPUs and gloo on CPUs."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

from ean_core.errors import EANError

LAUNCHERS = ("none", "pytorch", "slurm")


def start_processes(launcher: str = "auto") -> str:
    """Join the process group that the launcher's variables describe.

    MMEngine's own start assumes a GPU; this one also works on CPUs.

    Args:
        launcher: "none", "pytorch" (torchrun), "slurm", or "auto": torchrun if its variables are set.

    Returns:
        the launcher, as MMEngine's Runner wants it.
    """
    if launcher == "auto":
        launcher = "pytorch" if "RANK" in os.environ and "WORLD_SIZE" in os.environ else "none"
    if launcher not in LAUNCHERS:
        raise EANError(f"launcher is one of auto, {', '.join(LAUNCHERS)}, got {launcher!r}")
    if launcher == "none" or dist.is_initialized():
        return launcher
    if launcher == "slurm":
        _slurm_variables()
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except KeyError as missing:
        raise EANError(f"launcher {launcher!r} needs the variable {missing}: start the command with torchrun") from None
    return launcher


def _slurm_variables() -> None:
    """Translate SLURM's variables into those that torch.distributed reads."""
    if "SLURM_PROCID" not in os.environ:
        raise EANError("launcher 'slurm' was asked for, but SLURM_PROCID is not set: start the command with srun")
    os.environ.setdefault("RANK", os.environ["SLURM_PROCID"])
    os.environ.setdefault("WORLD_SIZE", os.environ["SLURM_NTASKS"])
    os.environ.setdefault("LOCAL_RANK", os.environ["SLURM_LOCALID"])
    nodes = os.environ["SLURM_NODELIST"]
    if "MASTER_ADDR" not in os.environ:
        import subprocess

        names = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
        os.environ["MASTER_ADDR"] = names.stdout.splitlines()[0]
    os.environ.setdefault("MASTER_PORT", "29500")


def rank_and_world() -> tuple[int, int]:
    """This process's number, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def is_first() -> bool:
    """Whether this process writes files and prints."""
    return rank_and_world()[0] == 0


def barrier() -> None:
    """Wait for all processes, so that what the first one wrote is there for the others."""
    if dist.is_initialized():
        dist.barrier()


def stop_processes() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()
