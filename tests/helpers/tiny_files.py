"""Network files that are built in milliseconds, for the tests of what is done with a finished network."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn

from crowd_counting.model.counter_file import save_counter
from crowd_counting.model.network import CounterSpec
from ean_core.networks import ARCHITECTURES
from ean_core.networks.blocks import BasicBlock
from ean_core.networks.network_file import ModelSpec, save_network

CLASSES = ["ant", "bee", "cat", "dog"]
LAYOUT = {
    "block": BasicBlock,
    "depths": (2, 1, 1),
    "widths": (8, 8, 16),
    "stem": "cifar",
    "strides": (1, 2, 2),
    "dilations": (1, 1, 1),
}


@pytest.fixture
def tiny_arch() -> Iterator[str]:
    """An architecture of four blocks, known as long as a test runs."""
    with patch.dict(ARCHITECTURES, {"tiny": LAYOUT}):
        yield "tiny"


def shake(network: nn.Module, *, seed: int = 0) -> nn.Module:
    """All weights and statistics away from where they start, where much is 0 or 1 and mistakes do not show."""
    generator = torch.Generator().manual_seed(seed)
    random = functools.partial(torch.rand, generator=generator)
    with torch.no_grad():
        for name, value in (*network.named_parameters(), *network.named_buffers()):
            if value.is_floating_point() and value.ndim < 2:
                value.copy_(
                    0.5 + random(value.shape) if "var" in name or "weight" in name else random(value.shape) - 0.5
                )
    return network.eval()


def tiny_classifier(path: Path, attention: str | None = "se", *, seed: int = 0, **changes: Any) -> Path:
    """A classifier.pth of four classes for images of 16x16; needs `tiny_arch`.

    Args:
        path: of the file.
        attention: as for `create_model`.
        seed: of the weights.
        changes: fields of `ModelSpec` or of the file's other content; None removes one.
    """
    fields = {"scheme": "11 0 1" if attention else None, "in_channels": 3, "sharing": "stage", "pruned": False}
    fields |= {"num_classes": 4, "attention_options": {}}
    spec = ModelSpec("tiny", attention=attention, **{name: changes.pop(name, value) for name, value in fields.items()})
    torch.manual_seed(seed)
    network = shake(spec.build(), seed=seed)
    channels = spec.in_channels
    info = {
        "classes": CLASSES,
        "mean": [0.4, 0.5, 0.6][:channels],
        "std": [0.2, 0.25, 0.3][:channels],
        "image_shape": [channels, 16, 16],
        "data": {"name": "cifar10"},
        "recipe": {"train": {"epochs": 1, "milestones": (1, 2)}, "seed": 0},
        **changes,
    }
    save_network(path, network, spec, **{name: value for name, value in info.items() if value is not None})
    return path


def tiny_counter(path: Path, attention: str | None = "se", **changes: Any) -> Path:
    """A counter file; needs `tiny_arch`."""
    spec = CounterSpec(arch="tiny", attention=attention, head_channels=8, stride=4, **changes)
    torch.manual_seed(0)
    counter = shake(spec.build())
    save_counter(path, counter, spec, mean=[0.4, 0.5, 0.6], std=[0.2, 0.25, 0.3], epoch=1, recipe={}, validation={})
    return path
