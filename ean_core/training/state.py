"""The state file of a run, last.pth: its allowed content, reading it, and converting it to a network file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from ean_core.io.safe_load import load_tensors
from ean_core.networks.network_file import ModelSpec, save_network
from ean_core.utils.checked_dataclasses import Count, checked
from ean_core.utils.errors import EANError

_ADVICE = "move it away to start the run over"


@dataclass(frozen=True)
class Position:
    """Progress of a run, from a state's "meta"."""

    epoch: Count = 0
    iter: Count = 0
    seed: int | None = None


@dataclass(frozen=True)
class StateFile:
    """The fields of a state that resuming needs."""

    optimizer: Mapping[str, Any]
    meta: Position
    state_dict: Mapping[str, Any]
    message_hub: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_state(path: Path) -> dict[str, Any]:
    """Read a state file: tensors and plain values.

    Raises:
        EANError: if it is damaged, holds other objects, or is another kind of file.
    """
    content = load_tensors(path, state=True)
    if not isinstance(content, dict) or not {"state_dict", "optimizer", "meta"} <= set(content):
        raise EANError(f"{path} is not the state of a run: give a last.pth, or move it away to start the run over")
    checked(StateFile, content, where=str(path), advice=_ADVICE)
    if invalid := [name for name, value in content["state_dict"].items() if not isinstance(value, Tensor)]:
        raise EANError(f"{path} is damaged ({invalid[0]} is not a tensor): {_ADVICE}")
    content["meta"].pop("config", None)  # MMEngine would execute it
    return content


def plain_state(value: Any) -> Any:
    """Convert a state to tensors and plain values, so that it can be read without allowing other names."""
    if isinstance(value, HistoryBuffer):
        log, counts = value.data
        return {
            "log_history": torch.tensor(np.asarray(log, dtype=np.float64)),
            "count_history": torch.tensor(np.asarray(counts, dtype=np.float64)),
            "max_length": value.max_length,
        }
    if isinstance(value, Mapping):
        return {key: plain_state(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain_state(item) for item in value) if type(value) in (list, tuple) else list(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def log_buffers(scalars: Mapping[str, Any]) -> dict[str, HistoryBuffer]:
    """Rebuild MMEngine's log buffers from a state of `read_state`.

    Raises:
        TypeError, KeyError, ValueError: if they are damaged.
    """
    return {
        name: HistoryBuffer(item["log_history"].numpy(), item["count_history"].numpy(), int(item["max_length"]))
        for name, item in scalars.items()
    }


def save_state_as_network(state: Path, path: Path, spec: ModelSpec, **info: Any) -> None:
    """Write the network file of a finished run, with the averaged weights if the run used `ema`.

    Args:
        state: last.pth of an `ImageClassifier`.
        path: the network file.
        spec: builds the network.
        info: see `save_network`.
    """
    weights = read_state(state)["state_dict"]
    network = spec.build()
    network.load_state_dict(
        {name.removeprefix("network."): value for name, value in weights.items() if name.startswith("network.")}
    )
    save_network(path, network, spec, **info)
