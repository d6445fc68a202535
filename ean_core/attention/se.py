"""Squeeze-and-Excitation Networks (https://arxiv.org/abs/1709.01507)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ean_core.attention.base import ChannelAttention, State
from ean_core.attention.functional import channel_means
from ean_core.deploy.fused_attention import Joined, after, shared


class SqueezeExcitation(ChannelAttention):
    """Channel mask from the channels' means: pool -> FC -> ReLU -> FC -> sigmoid, both FCs biased.

    Args:
        channels: C of the residual (B, C, H, W).
        reduction: the hidden layer has `channels // reduction` units, at least one.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.excite = nn.Linear(hidden, channels)

    def mask_of(self, pooled: Tensor, state: State) -> tuple[Tensor, State]:
        """The channels' means (B, C) -> mask (B, C)."""
        return self.excite(self.squeeze(pooled).relu()).sigmoid(), state

    def joined(self, convolutions: Sequence[nn.Conv2d]) -> Sequence[Joined] | None:
        """With the convolutions' weights in the first layer; see `Joined`."""
        if type(self) is not SqueezeExcitation:
            return super().joined(convolutions)
        return [JoinedSqueeze(self, one) for one in convolutions]


class JoinedSqueeze(Joined):
    """Squeeze-and-Excitation joined to the convolution before it."""

    def __init__(self, attention: SqueezeExcitation, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        self.squeeze = after(convolution, attention.squeeze)
        self.excite = attention.excite

    def mask(self, narrow: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C), no state."""
        return self.mask_of(channel_means(narrow)), state

    def mask_of(self, means: Tensor) -> Tensor:
        """(B, C), of the means (B, C') of what the convolution takes."""
        return shared(self.excite, self.squeeze(means).relu()).sigmoid()
