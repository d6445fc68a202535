"""Which device a command runs on, and the sentence for one that is not there."""

from __future__ import annotations

import torch

from ean_core.utils.errors import EANError, first_line


def choose_device(device: str | None) -> str:
    """The device that was asked for, or CUDA where there is one.

    Raises:
        EANError: if it cannot be used here, with what can.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        have = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
        hint = "" if count else "; torch sees no CUDA device: check nvidia-smi, and that torch is a build with CUDA"
        raise EANError(f"--device {device} cannot be used: {first_line(error)}; give one of {have}{hint}") from None
    return device
