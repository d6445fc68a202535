"""What every attention module looks like to a stage: residual in, recalibrated residual and state out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ean_core.attention.functional import add_scaled, channel_means
from ean_core.deploy.fused_attention import Joined, JoinedMeans

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
        return add_scaled(shortcut, residual, mask).relu_(), state

    def switched(self, residual: Tensor, on: Tensor, state: State = None) -> tuple[Tensor, State]:
        """`forward` where `on`, a bool (), is true, else the residual; and the state as if it were on.

        The choice is between masks, which mostly are small, and not between features.
        """
        if type(self).forward is not Attention.forward:  # it does more than multiply by its mask
            out, state = self(residual, state)
            return torch.where(on, out, residual), state
        mask, state = self.mask(residual, state)
        return residual * torch.where(on, mask, 1), state

    def joined(self, convolutions: Sequence[nn.Conv2d]) -> Sequence[Joined] | None:
        """For each 1x1 convolution that makes residuals, it and `merge` in one; None where there is no such form."""
        return None


class ChannelAttention(Attention):
    """Base of those whose mask is made of the channels' means alone; a subclass writes `mask_of`."""

    def mask_of(self, pooled: Tensor, state: State) -> tuple[Tensor, State]:
        """The channels' means (B, C) -> mask (B, C), and the state for the next connected block."""
        raise NotImplementedError

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C, 1, 1) mask."""
        mask, state = self.mask_of(channel_means(residual), state)
        return mask[:, :, None, None], state

    def joined(self, convolutions: Sequence[nn.Conv2d]) -> Sequence[Joined] | None:
        """Its means are put through the convolutions, for a subclass that leaves all but `mask_of` as it is."""
        own = type(self).mask is ChannelAttention.mask and type(self).forward is Attention.forward
        own = own and type(self).merge is Attention.merge
        return [JoinedMeans(self, one) for one in convolutions] if own else None
