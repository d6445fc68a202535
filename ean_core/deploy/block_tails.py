"""Block tails: the end of a residual block (recalibration, addition, activation) in a network that is done training.

A tail recalibrates the residual where the block is connected, adds the shortcut, and activates. It may overwrite the
residual, so that recalibrating costs no more memory and no more passes over the features than the addition alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention import Attention, State
from ean_core.attention.base import ChannelAttention, channel_means
from ean_core.deploy.functional import add_scaled
from ean_core.networks.stage import Activation


class BlockTail(nn.Module):
    """Base class of the block tails.

    Attributes:
        takes_hidden: whether it starts before the block's last convolution, from the output of `forward_hidden`.
    """

    takes_hidden = False

    def forward(self, features: Tensor, shortcut: Tensor | None, state: State = None) -> tuple[Tensor, State]:
        """Compute the end of a block.

        Args:
            features: the residual (B, C, H, W), which may be overwritten; or, with `takes_hidden`, the input of the
                last convolution (B, C', H, W).
            shortcut: (B, C, H, W), or None where the block has none.
            state: of a recurrent attention, from the last connected block of the stage.

        Returns:
            the block's output (B, C, H, W), and the state for the next connected block.
        """
        raise NotImplementedError


class AdditionTail(BlockTail):
    """The tail of a block that is not connected: activation(residual + shortcut)."""

    def __init__(self, *, activation: Activation = torch.relu_) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, features: Tensor, shortcut: Tensor | None, state: State = None) -> tuple[Tensor, State]:
        """See `BlockTail`; the state passes through."""
        if shortcut is not None:
            features = features + shortcut if features.requires_grad else features.add_(shortcut)
        return self.activation(features), state


class MeanMaskTail(BlockTail):
    """The tail of a block of a supernet whose mean mask stands in: activation(mask * residual + shortcut).

    Args:
        mask: (C,).
        activation: of the stage.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, *, activation: Activation = torch.relu_) -> None:
        super().__init__()
        self.register_buffer("mask", mask.clone()[:, None, None])
        self.activation = activation

    def forward(self, features: Tensor, shortcut: Tensor | None, state: State = None) -> tuple[Tensor, State]:
        """See `BlockTail`; the state passes through."""
        out = features * self.mask if shortcut is None else add_scaled(shortcut, features, self.mask)
        return self.activation(out), state


class AttentionTail(BlockTail):
    """The tail of a connected block, for any attention: activation(shortcut + M(residual) * residual)."""

    def __init__(self, attention: Attention, *, activation: Activation = torch.relu_) -> None:
        super().__init__()
        self.attention = attention
        self.activation = activation

    def forward(self, features: Tensor, shortcut: Tensor | None, state: State = None) -> tuple[Tensor, State]:
        """The block's output and the attention's next state; see `BlockTail.forward`."""
        if shortcut is None or type(self.attention).forward is not Attention.forward:  # more than a product by a mask
            out, state = self.attention(features, state)
            return self.activation(out if shortcut is None else out + shortcut), state
        mask, state = self.mask(features, state)
        return self.activation(add_scaled(shortcut, features, mask)), state

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """The mask, broadcastable to `residual` (B, C, H, W), and the state for the next connected block."""
        return self.attention.mask(residual, state)


class ChannelAttentionTail(AttentionTail):
    """`AttentionTail` for a mask that depends on the channel means alone."""

    attention: ChannelAttention

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """See `AttentionTail`; (B, C, 1, 1)."""
        mask, state = self.attention.mask_of(channel_means(residual), state)
        return mask[:, :, None, None], state
