"""What every attention module looks like to a stage: residual in, recalibrated residual and state out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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

    def merge(self, residual: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """ReLU(shortcut + M(residual) * residual), which overwrites `residual`: for networks that are not trained.

        Product and sum are one pass over the features and need no memory, so that recalibrating costs no more than
        the sum alone.
        """
        if type(self).forward is not Attention.forward:  # it does more than multiply by its mask
            out, state = self(residual, state)
            return (out + shortcut).relu_(), state
        mask, state = self.mask(residual, state)
        return torch.addcmul(shortcut, residual, mask, out=residual).relu_(), state


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
