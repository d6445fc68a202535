"""Attention as it is usually written: the code that published timings of SE, SGE and DIA were taken with.

Line by line as it was released, with the weights of this project's modules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ean_core.attention import DenseImplicitAttention, SpatialGroupEnhance, SqueezeExcitation
from ean_core.networks import StagedNetwork


class PlainSE(nn.Module):
    """Squeeze-and-Excitation as it is usually written."""

    def __init__(self, ours: SqueezeExcitation) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(ours.squeeze, nn.ReLU(inplace=True), ours.excite, nn.Sigmoid())

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """(B, C, H, W) recalibrated; no state."""
        batch, channels, _, _ = x.shape
        mask = self.fc(self.pool(x).view(batch, channels)).view(batch, channels, 1, 1)
        return x * mask.expand_as(x), None


class PlainSGE(nn.Module):
    """Spatial Group-wise Enhance, line by line as it was released."""

    def __init__(self, ours: SpatialGroupEnhance) -> None:
        super().__init__()
        self.groups, self.pool = ours.groups, nn.AdaptiveAvgPool2d(1)
        self.weight, self.bias = ours.weight, ours.bias

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """(B, C, H, W) recalibrated; no state."""
        batch, channels, height, width = x.shape
        x = x.view(batch * self.groups, -1, height, width)
        score = (x * self.pool(x)).sum(dim=1, keepdim=True).view(batch * self.groups, -1)
        score = score - score.mean(dim=1, keepdim=True)
        score = score / (score.std(dim=1, keepdim=True) + 1e-5)
        score = score.view(batch, self.groups, height, width)
        score = score * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        x = x * torch.sigmoid(score.view(batch * self.groups, 1, height, width))
        return x.view(batch, channels, height, width), None


class PlainDIA(nn.Module):
    """DIANet's cell as it was released: gates one by one."""

    def __init__(self, ours: DenseImplicitAttention) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.from_input, self.from_hidden = ours.from_input, ours.from_hidden

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Any]:
        """(B, C, H, W) recalibrated, and hidden and cell vectors (B, C) for the next block."""
        batch, channels, _, _ = x.shape
        pooled = self.pool(x).view(batch, channels)
        hidden, cell = state or (torch.zeros_like(pooled), torch.zeros_like(pooled))
        gates = self.from_input(pooled) + self.from_hidden(hidden)
        take, forget, candidate, give = gates.chunk(4, 1)
        take, forget, give = torch.sigmoid(take), torch.sigmoid(forget), torch.sigmoid(give)
        cell = forget * cell + take * torch.tanh(candidate)
        hidden = give * torch.sigmoid(cell)
        return x * hidden.view(batch, channels, 1, 1).expand_as(x), (hidden, cell)


PLAIN = {SqueezeExcitation: PlainSE, SpatialGroupEnhance: PlainSGE, DenseImplicitAttention: PlainDIA}


def plain_form(network: StagedNetwork) -> nn.Module:
    """The network with plain attention, eager and as it was trained."""
    network = network.prune().eval()
    for stage in network.stages:
        if stage.attention is not None:
            stage.attention = PLAIN[type(stage.attention)](stage.attention)
    return network
