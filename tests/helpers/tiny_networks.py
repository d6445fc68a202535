"""Small networks for tests of their faster modes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest.mock import patch

import torch
from torch import nn

from ean_core import create_model
from ean_core.attention import SpatialGroupEnhance
from ean_core.networks import ARCHITECTURES, StagedNetwork, input_shape

SHORT = (3, 1, 1)
"""Blocks per stage of "short20" and "short29": a block after one that is not connected, and stages that end at once."""


def small_architectures() -> AbstractContextManager:
    """In the block ImageNet's networks have their blocks, and 64 channels in all stages: most weights are elsewhere.

    "short20" and "short29" are ResNet-20 and ResNet-29 with fewer blocks.
    """
    layouts = {name: layout for name, layout in ARCHITECTURES.items() if layout["stem"] == "imagenet"}
    thin = {name: {**layout, "widths": (64,) * 4} for name, layout in layouts.items()}
    short = {f"short{depth}": {**ARCHITECTURES[f"resnet{depth}"], "depths": SHORT} for depth in (20, 29)}
    return patch.dict(ARCHITECTURES, thin | short)


def trained(
    arch: str, attention: str | None = None, *, sharing: str = "stage", scheme: str | None = None
) -> StagedNetwork:
    """A network in eval mode whose batch norms and biases are not at their initial values; ImageNet's are thinner."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    with small_architectures():
        network = create_model(arch, num_classes=7, attention=attention, sharing=sharing, scheme=scheme)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.4, 0.8, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 0.3, generator=generator)
        elif isinstance(module, SpatialGroupEnhance):  # its weights start at zero: a mask that is the same everywhere
            module.weight.data.normal_(0, 1, generator=generator)
    return network.eval()


def images(network: StagedNetwork, *, size: int, device: str = "cpu") -> torch.Tensor:
    shape = input_shape(network, size=size)
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)).to(device)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference, relative to the largest magnitude."""
    return ((one - other).abs().max() / one.abs().max()).item()


def check_schemes(network: StagedNetwork, other: StagedNetwork, *schemes: str, near: float) -> None:
    """Two ways to run a supernet give the same logits on every path."""
    x = images(network, size=8)
    for scheme in schemes:
        network.set_scheme(scheme)
        other.set_scheme(scheme)
        with torch.inference_mode():
            assert difference(network(x), other(x)) < near
