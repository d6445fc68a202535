"""Squeeze-and-Excitation Networks (https://arxiv.org/abs/1709.01507)."""

from __future__ import annotations

from torch import Tensor, nn

from ean_core.attention.base import ChannelAttention, State


class SqueezeExcitation(ChannelAttention):
    """Channel mask from the channel means: pool -> FC -> ReLU -> FC -> sigmoid, both FCs with bias.

    Args:
        channels: C of the residual (B, C, H, W).
        reduction: the hidden layer has `channels // reduction` units, at least one.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def mask_of(self, means: Tensor, state: State) -> tuple[Tensor, State]:
        """Channel means (B, C) -> mask (B, C); SE has no state."""
        return self.excite(self.squeeze(means).relu()).sigmoid(), state
