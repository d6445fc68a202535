"""Squeeze-and-Excitation Networks (https://arxiv.org/abs/1709.01507)."""

from __future__ import annotations

import math
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
