"""Reading files that hold tensors and plain values only, so that a file from the internet cannot run code."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch

from ean_core.io.safetensors_file import SUFFIX, read_safetensors
from ean_core.utils.errors import EANError, first_line

A_STATE = (
    "is the state that a run goes on from: give the classifier.pth or best.pth beside it, or for a segmentor, where "
    "the command takes one, its --config too"
)
"""What a last.pth is, where a network is asked for."""


def load_tensors(path: str | Path) -> Any:
    """`torch.load` that admits tensors and plain values only; a .safetensors gives what its .pth would.

    Raises:
        EANError: if the file is missing, truncated or asks for code.
    """
    if not Path(path).is_file():
        what = "is a folder" if Path(path).is_dir() else "does not exist"
        raise EANError(f"{path} {what}: give a file that a training command wrote")
    if Path(path).suffix == SUFFIX:
        return read_safetensors(Path(path))
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked is None:
            raise EANError(f"{path} is damaged, or no file of weights: move it away and make it again") from None
        if asked[1].startswith("mmengine.logging"):  # the log buffers in a last.pth
            raise EANError(f"{path} {A_STATE}") from None
        raise EANError(
            f"{path} holds more than weights and was not loaded, as it can run code (it asks for {asked[1]})"
        ) from None
    except PermissionError:
        raise
    except Exception as error:  # on bad bytes torch raises IndexError, struct.error, AssertionError and more
        raise EANError(
            f"{path} is damaged or truncated ({first_line(error)}), or no file of weights: move it away, make it again"
        ) from None
