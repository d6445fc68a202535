"""The interface of every attention module: residual in, recalibrated residual and state out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor] | None
"""What a recurrent attention hands from one connected block to the next one of its stage; None at the start."""


class Attention(nn.Module):
    """Base of the modules M(.; W) of Eq. 2 to 4 (https://arxiv.org/abs/2011.14058).

    A subclass writes `mask`; recalibrating is the element-wise product with it. One that does something else to the
    residual overrides `forward`.
    """

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """The mask, broadcastable to `residual` (B, C, H, W), and the state for the next connected block."""
        raise NotImplementedError

    def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
        """M(residual) * residual, and the state for the next connected block of the stage."""
        mask, state = self.mask(residual, state)
        return residual * mask, state


class ChannelAttention(Attention):
    """Base of attention whose mask depends on the channel means alone; a subclass writes `mask_of`."""

    def mask_of(self, means: Tensor, state: State) -> tuple[Tensor, State]:
        """Channel means (B, C) -> mask (B, C), and the state for the next connected block."""
        raise NotImplementedError

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C, H, W) -> mask (B, C, 1, 1), and the state."""
        mask, state = self.mask_of(channel_means(residual), state)
        return mask[:, :, None, None], state


def channel_means(features: Tensor) -> Tensor:
    """Mean of every channel, in the form that is fast: (B, C, H, W) -> (B, C).

    The gradient of a sum is a view of what comes back, while that of a mean is a new tensor as large as `features`, and
    in NCHW order even where they are channels_last, so that adding it to the gradient of the product is slow: training
    takes the sum. In float16 it could overflow.
    """
    if features.requires_grad:
        if features.dtype == torch.float16:
            return features.mean(dim=(2, 3))
        # Autocast would sum in float32 and cast the gradient back, a new tensor again: the type is given.
        return features.sum(dim=(2, 3), dtype=features.dtype) / (features.shape[2] * features.shape[3])
    low_on_cpu = features.dtype == torch.bfloat16 and features.device.type == "cpu"
    if low_on_cpu and not torch.compiler.is_compiling() and features.is_contiguous(memory_format=torch.channels_last):
        # PyTorch's sum over bfloat16 on a CPU takes three times as long as a matrix product that does the same.
        batch, channels, height, width = features.shape
        positions = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view
        sums = torch.bmm(features.new_ones(batch, 1, height * width), positions)  # (B, 1, C), added up in float32
        return sums[:, 0] / (height * width)
    return features.mean(dim=(2, 3))
