"""What every attention module looks like to a stage: residual in, recalibrated residual and state out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Source = tuple[Tensor, nn.Conv2d] | None
"""What a residual was made of, where that was one 1x1 convolution: its input (B, C', H, W), and the convolution.

Means over the positions, and whatever else is linear, can then be taken of the input, which has fewer channels.
"""

State = tuple[Tensor, Tensor] | None
"""What a recurrent attention hands from one connected block to the next one of its stage; None at the start."""


class Attention(nn.Module):
    """Base of the modules M(.; W) of Eq. 2 to 4.

    A subclass writes `mask`; the recalibration is the element-wise product.
    """

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """The mask, broadcastable to `residual` (B, C, H, W), and the state for the next connected block."""
        raise NotImplementedError

    def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
        """M(residual) * residual, and the state for the next connected block of the stage."""
        mask, state = self.mask(residual, state)
        return residual * mask, state

    def merge(
        self, residual: Tensor, shortcut: Tensor, state: State = None, source: Source = None
    ) -> tuple[Tensor, State]:
        """ReLU(shortcut + M(residual) * residual), which overwrites `residual`: for networks that are not trained.

        Product and sum are one pass over the features and need no memory, so that recalibrating costs no more than
        the sum alone. `source` tells a subclass how `residual` was made.
        """
        if type(self).forward is not Attention.forward:  # it does more than multiply by its mask
            out, state = self(residual, state)
            return (out + shortcut).relu_(), state
        mask, state = self.mask(residual, state)
        return add_scaled(shortcut, residual, mask).relu_(), state


class ChannelAttention(Attention):
    """Base of those whose mask is made of the channels' means alone; a subclass writes `mask_of`."""

    def mask_of(self, pooled: Tensor, state: State) -> tuple[Tensor, State]:
        """The channels' means (B, C) -> mask (B, C), and the state for the next connected block."""
        raise NotImplementedError

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C, 1, 1) mask."""
        mask, state = self.mask_of(channel_means(residual), state)
        return mask[:, :, None, None], state

    def merge(
        self, residual: Tensor, shortcut: Tensor, state: State = None, source: Source = None
    ) -> tuple[Tensor, State]:
        """As the base; the means are those of the source, where there is one, put through its convolution."""
        own = type(self).mask is ChannelAttention.mask and type(self).forward is Attention.forward
        if source is None or not own:
            return super().merge(residual, shortcut, state)
        mask, state = self.mask_of(means_through(source), state)
        return add_scaled(shortcut, residual, mask[:, :, None, None]).relu_(), state


def add_scaled(shortcut: Tensor, residual: Tensor, mask: Tensor) -> Tensor:
    """shortcut + mask * residual in one pass that overwrites `residual`; all (B, C, H, W) or broadcastable to it."""
    if torch.compiler.is_compiling():  # it joins passes by itself, and better without being told where to write
        return shortcut + residual * mask
    return torch.addcmul(shortcut, residual, mask, out=residual)


def means_through(source: tuple[Tensor, nn.Conv2d]) -> Tensor:
    """(B, C), the channels' means of what a 1x1 convolution gives: it and the mean over the positions commute."""
    features, convolution = source
    return F.linear(channel_means(features), convolution.weight.flatten(1), convolution.bias)


def channel_means(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C), the mean over the positions."""
    batch, channels, height, width = features.shape
    low, dense = features.dtype == torch.bfloat16, features.is_contiguous(memory_format=torch.channels_last)
    eager = not (features.requires_grad or torch.compiler.is_compiling())
    if low and dense and eager and features.device.type == "cpu":
        # PyTorch's sum over bfloat16 on a CPU takes three times as long as a matrix product that does the same.
        positions = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view
        sums = torch.bmm(features.new_ones(batch, 1, height * width), positions)  # (B, 1, C), added up in float32
        return sums[:, 0] / (height * width)
    return features.mean(dim=(2, 3))
