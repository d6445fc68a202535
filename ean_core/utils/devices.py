"""Choose a command's device, query its features, and explain why a GPU cannot be used."""

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
from ean_core.utils.wrapping import print_wrapped

DRIVER_FILE = Path("/proc/driver/nvidia/version")
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> the first driver that runs all of its releases (NVIDIA, "CUDA Compatibility")."""
WHERE = "pytorch.org/get-started"


def choose_device(device: str | None) -> str:
    """The requested device; by default CUDA if available, otherwise the CPU.

    Raises:
        EANError: if the device cannot be used; lists those that can.
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
        raise EANError(f"--device {device} cannot be used: {first_line(error)}; choose from {have}{hint}") from None
    if torch.device(device).type == "cuda":
        check_gpu(torch.device(device).index or 0)
    return device


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether a device supports bfloat16 natively; emulation is slower than float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        try:
            return torch.cuda.is_bf16_supported(including_emulation=False)
        except TypeError:  # before PyTorch 2.5
            return torch.cuda.is_bf16_supported()
    if kind != "cpu":
        return False
    checks = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(check() for check in checks if check is not None)


def prefers_channels_last(device: torch.device | str) -> bool:
    """Whether channels_last is faster for convolutions of any precision: on NVIDIA tensor cores (float32 as TF32).

    On CPUs it depends on the network, so a recipe has to request it.
    """
    return torch.device(device).type == "cuda" and has_bfloat16(device)


# -- a GPU that torch does not see, or cannot use ----------------------------------------------------------------------


@functools.cache
def warn_of_unused_gpu() -> None:
    """Warn once, on the first process's stderr, if the machine has a GPU that torch cannot use."""
    if launched_as()[0] == 0 and (reason := unseen_gpu()) is not None:
        print_wrapped(f"warning: running on the CPU: {reason}", file=sys.stderr)


def unseen_gpu() -> str | None:
    """Why torch sees no CUDA device despite an NVIDIA driver, and what to do; None if there is no such problem."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")  # the user's choice
    if torch.cuda.is_available() or torch.version.hip or hidden or (driver := nvidia_driver()) is None:
        return None
    built = torch.version.cuda
    if built is None:
        return (
            f"there is an NVIDIA driver ({driver}), but torch {torch.__version__} was built without CUDA: install one "
            f"with CUDA ({WHERE})"
        )
    release, required = re.match(r"\d+", driver), OLDEST_DRIVER.get(int(built.split(".")[0]))
    if release is None or required is None or int(release[0]) >= required:
        return (
            f"torch {torch.__version__} (CUDA {built}) sees no device, although the NVIDIA driver ({driver}) is recent "
            "enough: check that nvidia-smi lists a GPU, and that a container has access to it"
        )
    runs = [cuda for cuda, oldest in OLDEST_DRIVER.items() if oldest <= int(release[0])]
    alternative = f", or install a build of torch for CUDA {max(runs)} ({WHERE})" if runs else ""
    return (
        f"the NVIDIA driver ({driver}) is too old for torch {torch.__version__}, which was built for CUDA {built}: "
        f"update the driver to {required} or later{alternative}"
    )


def nvidia_driver() -> str | None:
    """The version of the NVIDIA driver; "version unknown" if only its library is found; None without a driver."""
    try:
        match = re.search(r"Kernel Module.*?(\d+\.[\d.]+)", DRIVER_FILE.read_text())
    except OSError:
        match = None
    if match is not None:
        return match[1]
    if (command := shutil.which("nvidia-smi")) is not None:
        query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            output = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.TimeoutExpired):
            output = ""
        if (match := re.match(r"\d+\.[\d.]+", output.strip())) is not None:
            return match[0]
    return "version unknown" if DRIVER_FILE.exists() or has_driver_library() else None


def has_driver_library() -> bool:
    """Whether libcuda, which comes with the driver, can be loaded."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def check_gpu(index: int = 0) -> None:
    """Refuse a GPU that this build of torch does not support, as new builds drop old GPUs.

    Raises:
        EANError: with the GPU's compute capability and those that torch supports.
    """
    if torch.version.hip:
        return
    card, built = torch.cuda.get_device_capability(index), torch.cuda.get_arch_list()
    if built and not any(runs_on(name, card) for name in built):
        has = ", ".join(sorted({f"{major}.{minor}" for major, minor in map(capability, built)}, key=float))
        raise EANError(
            f"torch {torch.__version__} does not support {torch.cuda.get_device_name(index)}, of compute capability "
            f"{card[0]}.{card[1]} (it supports {has}): install a build of torch for an older CUDA ({WHERE}), or set "
            "CUDA_VISIBLE_DEVICES to '' to run on the CPU"
        )


def runs_on(architecture: str, card: tuple[int, int]) -> bool:
    """Whether code for an architecture such as sm_86 or compute_90 runs on a GPU of this compute capability."""
    major, minor = capability(architecture)
    if architecture.startswith("compute"):  # PTX, compiled for the GPU when it is loaded
        return (major, minor) <= card
    return major == card[0] and minor <= card[1]


def capability(architecture: str) -> tuple[int, int]:
    """The compute capability of an architecture's name: sm_90a -> (9, 0)."""
    digits = re.sub(r"\D", "", architecture)
    return int(digits[:-1]), int(digits[-1])
