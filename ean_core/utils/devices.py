"""Which device a command runs on, what it can do, and the sentence for one that is not there or not seen."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from ean_core.utils.errors import EANError, first_line, launched_as

DRIVER_FILE = Path("/proc/driver/nvidia/version")
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> the first driver that runs all of its releases (NVIDIA, "CUDA Compatibility")."""
WHERE = "pytorch.org/get-started"


def choose_device(device: str | None) -> str:
    """The device that was asked for, or CUDA where there is one.

    Raises:
        EANError: if it cannot be used here, with what can.
    """
    if device is None:
        warn_of_unused_gpu()
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        have = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
        hint = "" if count else f"; {unseen_gpu() or 'torch sees no CUDA device: check nvidia-smi'}"
        raise EANError(f"--device {device} cannot be used: {first_line(error)}; give one of {have}{hint}") from None
    if torch.device(device).type == "cuda":
        check_gpu(torch.device(device).index or 0)
    return device


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether a device multiplies bfloat16 itself; where it is imitated, it is slower than float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        try:
            return torch.cuda.is_bf16_supported(including_emulation=False)
        except TypeError:  # before PyTorch 2.5
            return torch.cuda.is_bf16_supported()
    if kind != "cpu":
        return False
    asked = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(ask() for ask in asked if ask is not None)


def prefers_channels_last(device: torch.device | str) -> bool:
    """Whether convolutions of any precision like that memory format: NVIDIA's tensor cores, which take float32 as TF32.

    On CPUs it depends on the network, so that a recipe has to ask for it.
    """
    return torch.device(device).type == "cuda" and has_bfloat16(device)


# -- a GPU that torch does not see, or cannot use ----------------------------------------------------------------------


@functools.cache
def warn_of_unused_gpu() -> None:
    """Say, once, on the first process's stderr, why the work is not done on the GPU that this machine may have."""
    if launched_as()[0] == 0 and (reason := unseen_gpu()) is not None:
        print(f"warning: this runs on the CPU: {reason}", file=sys.stderr, flush=True)


def unseen_gpu() -> str | None:
    """Why torch sees no CUDA device though an NVIDIA driver is there, and what to do; None if that is not so."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # the user's choice
    if torch.cuda.is_available() or torch.version.hip or hidden or (driver := nvidia_driver()) is None:
        return None
    built = torch.version.cuda
    if built is None:
        return (
            f"an NVIDIA driver is here ({driver}) and torch {torch.__version__} is a build without CUDA: install one "
            f"with it ({WHERE})"
        )
    release, wanted = re.match(r"\d+", driver), OLDEST_DRIVER.get(int(built.split(".")[0]))
    if release is None or wanted is None or int(release[0]) >= wanted:
        return (
            f"torch {torch.__version__} (CUDA {built}) sees no device, and the NVIDIA driver ({driver}) is not too old "
            "for it: check that nvidia-smi lists a GPU, and start a container with access to it"
        )
    runs = [cuda for cuda, oldest in OLDEST_DRIVER.items() if oldest <= int(release[0])]
    other = f", or install a torch that is built for CUDA {max(runs)} ({WHERE})" if runs else ""
    return (
        f"the NVIDIA driver ({driver}) is too old for torch {torch.__version__}, which is built for CUDA {built}: "
        f"update the driver to {wanted} or later{other}"
    )


def nvidia_driver() -> str | None:
    """The version of the machine's NVIDIA driver, "version unknown" where there is only its library, None for none."""
    try:
        found = re.search(r"Kernel Module.*?(\d+\.[\d.]+)", DRIVER_FILE.read_text())
    except OSError:
        found = None
    if found is not None:
        return found[1]
    if (command := shutil.which("nvidia-smi")) is not None:
        query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            said = ""
        if (found := re.match(r"\d+\.[\d.]+", said.strip())) is not None:
            return found[0]
    return "version unknown" if DRIVER_FILE.exists() or has_driver_library() else None


def has_driver_library() -> bool:
    """Whether CUDA's own library, which comes with the driver, can be loaded."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def check_gpu(index: int = 0) -> None:
    """Refuse a GPU that this build of torch has no code for: new builds drop old cards.

    Raises:
        EANError: naming the card and what torch was built for.
    """
    if torch.version.hip:
        return
    card, built = torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()
    if built and not any(runs_on(name, card) for name in built):
        has = ", ".join(sorted({f"{major}.{minor}" for major, minor in map(capability, built)}, key=float))
        raise EANError(
            f"torch {torch.__version__} has no code for {torch.cuda.get_device_name(index)}, of compute capability "
            f"{card[0]}.{card[1]} (it has {has}): install a torch that is built for an older CUDA ({WHERE}), or set "
            "CUDA_VISIBLE_DEVICES to nothing to run on the CPU"
        )


def runs_on(architecture: str, card: tuple[int, int]) -> bool:
    """Whether code of torch's, as sm_86 or compute_90, runs on a card of this compute capability."""
    major, minor = capability(architecture)
    if architecture.startswith("compute"):  # compiled for the card when it is loaded
        return (major, minor) <= card
    return major == card[0] and minor <= card[1]


def capability(architecture: str) -> tuple[int, int]:
    """sm_90a -> (9, 0)."""
    digits = re.sub(r"\D", "", architecture)
    return int(digits[:-1]), int(digits[-1])
