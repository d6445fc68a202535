"""The state file of a run, last.pth: checking it, and making a network file of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.runner.checkpoint import get_torch_safe_globals

from ean_core.io.safe_load import load_tensors
from ean_core.networks.checkpoint import ModelSpec, save_network
from ean_core.utils.errors import EANError


def read_state(path: Path) -> dict[str, Any]:
    """A state file's content: tensors, plain values, and MMEngine's own log buffers.

    Raises:
        EANError: if it is truncated or holds more than a run's state.
    """
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        content = load_tensors(path)
    if not isinstance(content, dict) or not {"state_dict", "optimizer", "meta"} <= set(content):
        raise EANError(f"{path} is not a run's state, a last.pth: give one, or move it away to start a run again")
    return content


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
