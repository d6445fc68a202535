"""Attention joined to the 1x1 convolution that makes a block's residuals: the same sum, made of fewer channels.

For networks that are done training. Means over the positions, and whatever else is linear, pass through a 1x1
convolution: they can be taken of the features that it takes, which are a quarter of those that it gives, and its
weights multiplied into those of the layer after them, once and for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ean_core.attention.functional import add_scaled, channel_means

if TYPE_CHECKING:
    from ean_core.attention.base import ChannelAttention, State


CACHE = 2**19  # bytes that stay in a core's second-level cache from one block to the next


class Joined(nn.Module):
    """Base of the joined forms; a subclass writes `mask`.

    Args:
        convolution: 1x1, (B, C', H, W) -> (B, C, H, W), with the batch norm after it folded into it.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def mask(self, narrow: Tensor, state: State) -> tuple[Tensor, State]:
        """The channels' mask (B, C) of what the convolution takes, and the state for the next connected block."""
        raise NotImplementedError

    def forward(self, narrow: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """ReLU(shortcut + mask * convolution(narrow)), (B, C, H, W), and the state for the next connected block."""
        mask, state = self.mask(narrow, state)
        return add_scaled(shortcut, self.convolution(narrow), mask[:, :, None, None]).relu_(), state


class JoinedMeans(Joined):
    """Of any attention whose mask is made of the channels' means: the means are put through the convolution."""

    def __init__(self, attention: ChannelAttention, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        self.attention = attention
        self.means = after(convolution, None)

    def mask(self, narrow: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C), as the attention's `mask_of`."""
        return self.attention.mask_of(self.means(channel_means(narrow)), state)


@torch.no_grad()
def after(convolution: nn.Conv2d, linear: nn.Linear | None) -> nn.Linear:
    """One layer of the means that a 1x1 convolution takes, for the layer of those that it gives (None: those alone).

    A (W m + b) + a = (A W) m + (A b + a).
    """
    weight, bias = convolution.weight.flatten(1), convolution.bias  # (C, C'), (C,)
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    if linear is not None:
        bias = linear.weight @ bias + (0 if linear.bias is None else linear.bias)
        weight = linear.weight @ weight
    return layer(weight, bias)


def layer(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer with copies of these weights (outputs, inputs) and biases (outputs,)."""
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight, made.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return made.eval()


def shared(linear: nn.Linear, x: Tensor) -> Tensor:
    """A layer that several blocks share: (B, inputs) -> (B, outputs).

    A compiler packs a layer's weights for every place where it stands, and blocks that share one then read a copy each
    from the memory, which for one image takes longer than the product. Written out, all read the same weights, which
    stay in the cache if they are small enough.
    """
    kept = linear.weight.numel() * linear.weight.element_size() <= CACHE
    if kept and torch.compiler.is_compiling() and len(x) == 1 and x.device.type == "cpu":
        return ((linear.weight * x).sum(dim=1) + linear.bias)[None]
    return linear(x)
