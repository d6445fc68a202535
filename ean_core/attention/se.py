"""Squeeze-and-Excitation Networks (https://arxiv.org/abs/1709.01507)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ean_core.attention.base import ChannelAttention, State


class SqueezeExcitation(ChannelAttention):
    """Channel mask from the channel means: pool -> FC -> ReLU -> FC -> sigmoid, both FCs with bias.

    Args:
        channels: C of the residual (B, C, H, W).
        reduction: the hidden layer has `channels // reduction` units, at least one.
        init: of both layers' weights. "linear": PyTorch's for a Linear, with which masks begin near one half; "conv":
            N(0, sqrt(2 / out)), the networks' rule for 1x1 convolutions, which EAN's released ImageNet code applies.

    Raises:
        ValueError: for another `init`.
    """

    def __init__(self, channels: int, *, reduction: int = 16, init: str = "linear") -> None:
        super().__init__()
        if init not in ("linear", "conv"):
            raise ValueError(f"init is 'linear' or 'conv', got {init!r}")
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)
        if init == "conv":
            for layer in (self.squeeze, self.excite):
                nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / layer.out_features))

    def mask_of(self, means: Tensor, state: State) -> tuple[Tensor, State]:
        """Channel means (B, C) -> mask (B, C); SE has no state."""
        return self.excite(self.squeeze(means).relu()).sigmoid(), state
