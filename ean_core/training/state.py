"""The state file of a run, last.pth: what it may hold, reading it, and making a network file of it."""

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
from ean_core.io.typed import Count, checked
from ean_core.networks.checkpoint import ModelSpec, save_network
from ean_core.utils.errors import EANError

_ADVICE = "move it away to start the run again"


@dataclass(frozen=True)
class Position:
    """How far a run was, in a state's "meta"."""

    epoch: Count = 0
    iter: Count = 0
    seed: int | None = None


@dataclass(frozen=True)
class StateFile:
    """What resuming needs of a state, besides the weights."""

    optimizer: Mapping[str, Any]
    meta: Position
    state_dict: Mapping[str, Any]
    message_hub: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_state(path: Path) -> dict[str, Any]:
    """A state file's content: tensors and plain values.

    Raises:
        EANError: if it is damaged, holds more than a run's state, or is another kind of file.
    """
    content = load_tensors(path, state=True)
    if not isinstance(content, dict) or not {"state_dict", "optimizer", "meta"} <= set(content):
        raise EANError(f"{path} is not a run's state, a last.pth: give one, or move it away to start a run again")
    checked(StateFile, content, where=str(path), advice=_ADVICE)
    if wrong := [name for name, value in content["state_dict"].items() if not isinstance(value, Tensor)]:
        raise EANError(f"{path} is damaged ({wrong[0]} is no tensor): {_ADVICE}")
    content["meta"].pop("config", None)  # MMEngine would run it as a program
    return content


def plain_state(value: Any) -> Any:
    """A state as it is written: log buffers as tensors, NumPy's values as plain ones.

    Reading it then needs no name but those of tensors.
    """
    if isinstance(value, HistoryBuffer):
        log, counts = value.data
        return {
            "log_history": torch.tensor(np.asarray(log, dtype=np.float64)),
            "count_history": torch.tensor(np.asarray(counts, dtype=np.float64)),
            "max_length": value.max_length,
        }
    if isinstance(value, Mapping):
        return {key: plain_state(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain_state(one) for one in value) if type(value) in (list, tuple) else list(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def log_buffers(scalars: Mapping[str, Any]) -> dict[str, HistoryBuffer]:
    """The log buffers of a state that `read_state` gave, as MMEngine's logger wants them.

    Raises:
        TypeError, KeyError, ValueError: if they are damaged.
    """
    return {
        name: HistoryBuffer(one["log_history"].numpy(), one["count_history"].numpy(), int(one["max_length"]))
        for name, one in scalars.items()
    }


def save_state_as_network(state: Path, path: Path, spec: ModelSpec, **info: Any) -> None:
    """Write the network of a finished run; where the run averages its weights, those in the state are the average.

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
