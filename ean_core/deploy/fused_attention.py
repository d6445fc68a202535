"""Channel attention fused with the 1x1 convolution before it: the same sum, from fewer channels.

For networks that are done training. Means over the positions, like all linear operations, commute with a 1x1
convolution: they can be computed from its input, which has a quarter of the channels of its output, with its weights
multiplied into those of the next layer in advance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ean_core.attention import DenseImplicitAttention, SqueezeExcitation, State
from ean_core.attention.base import ChannelAttention, channel_means
from ean_core.attention.dia import update_cell
from ean_core.deploy.block_tails import BlockTail
from ean_core.deploy.functional import add_scaled

CACHE_BYTES = 2**19  # what stays in a core's second-level cache from one block to the next


class FusedAttention(BlockTail):
    """Base of the tails that start before the block's last convolution; a subclass implements `mask`.

    Args:
        attention: where the weights come from.
        convolution: 1x1, (B, C', H, W) -> (B, C, H, W), with the batch norm after it folded into it.
    """

    takes_hidden = True

    def __init__(self, attention: nn.Module, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    @classmethod
    def for_blocks(cls, attention: nn.Module, convolutions: Sequence[nn.Conv2d]) -> list[FusedAttention]:
        """The tails of blocks with these last convolutions, which share the attention."""
        return [cls(attention, convolution) for convolution in convolutions]

    def mask(self, hidden: Tensor, state: State) -> tuple[Tensor, State]:
        """The convolution's input (B, C', H, W) -> channel mask (B, C), and the state for the next connected block."""
        raise NotImplementedError

    def forward(self, features: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """ReLU(shortcut + mask * convolution(features)); see `BlockTail`."""
        mask, state = self.mask(features, state)
        return torch.relu_(add_scaled(shortcut, self.convolution(features), mask[:, :, None, None])), state


class FusedChannelAttention(FusedAttention):
    """Any attention whose mask depends on the channel means alone: the means pass through the convolution."""

    def __init__(self, attention: ChannelAttention, convolution: nn.Conv2d) -> None:
        super().__init__(attention, convolution)
        self.attention = attention
        self.means = compose(convolution, None)

    def mask(self, hidden: Tensor, state: State) -> tuple[Tensor, State]:
        """The attention's mask of the convolution's output, from the means of its input; see `FusedAttention.mask`."""
        return self.attention.mask_of(self.means(channel_means(hidden)), state)


class FusedSqueezeExcitation(FusedAttention):
    """Squeeze-and-Excitation, with the convolution multiplied into its first layer."""

    def __init__(self, attention: SqueezeExcitation, convolution: nn.Conv2d) -> None:
        super().__init__(attention, convolution)
        self.squeeze = compose(convolution, attention.squeeze)
        self.excite = attention.excite

    def mask(self, hidden: Tensor, state: State) -> tuple[Tensor, State]:
        """See `FusedAttention`; SE has no state."""
        return self.mask_of(channel_means(hidden)), state

    def mask_of(self, means: Tensor) -> Tensor:
        """Channel means (B, C') of the convolution's input -> mask (B, C)."""
        return shared_linear(self.excite, self.squeeze(means).relu()).sigmoid()


class FusedDenseImplicitAttention(FusedAttention):
    """DIA, with the convolution multiplied into its first layer.

    The gates are P u + Q v, of what the two bottlenecks made of the means and of the hidden vector: [P Q] [u, v], one
    layer.

    Args:
        attention, convolution: as for `FusedAttention`.
        gates: [P Q], the same layer for all blocks; None makes it.
    """

    def __init__(
        self, attention: DenseImplicitAttention, convolution: nn.Conv2d, gates: nn.Linear | None = None
    ) -> None:
        super().__init__(attention, convolution)
        self.squeeze = compose(convolution, attention.from_input[0])
        self.squeeze_hidden = attention.from_hidden[0]
        self.gates = gates or merged_gates(attention)

    @classmethod
    def for_blocks(
        cls, attention: DenseImplicitAttention, convolutions: Sequence[nn.Conv2d]
    ) -> list[FusedDenseImplicitAttention]:
        """See `FusedAttention`; the blocks share the layer of the gates."""
        gates = merged_gates(attention)
        return [cls(attention, convolution, gates) for convolution in convolutions]

    def mask(self, hidden: Tensor, state: State) -> tuple[Tensor, State]:
        """See `FusedAttention`; the mask is also the hidden vector of the cell."""
        means = channel_means(hidden)
        vector, cell = initial_state(means, self.convolution.out_channels) if state is None else state
        vector, cell = update_cell(self.gate_values(means, vector), cell)
        return vector, (vector, cell)

    def gate_values(self, means: Tensor, vector: Tensor) -> Tensor:
        """(B, 4C), from the means (B, C') of the convolution's input and the last hidden vector (B, C)."""
        squeezed = torch.cat([self.squeeze(means), shared_linear(self.squeeze_hidden, vector)], dim=1)
        return shared_linear(self.gates, squeezed.relu())


def initial_state(like: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """DIA's hidden vector and cell at the start of a stage: zeros (B, channels), with B and device of `like`."""
    zeros = like.new_zeros(like.shape[0], channels)  # an export would make a constant of `len(like)`
    return zeros, zeros


def merged_gates(attention: DenseImplicitAttention) -> nn.Linear:
    """DIA's two last layers as one that takes both bottlenecks' outputs."""
    of_means, of_hidden = attention.from_input[2], attention.from_hidden[2]
    return linear_layer(torch.cat([of_means.weight, of_hidden.weight], dim=1), of_means.bias + of_hidden.bias)


@torch.no_grad()
def compose(convolution: nn.Conv2d, linear: nn.Linear | None) -> nn.Linear:
    """The layer that does to channel means what a 1x1 convolution and a linear layer (None: identity) do in turn.

    A (W m + b) + a = (A W) m + (A b + a).
    """
    weight, bias = convolution.weight.flatten(1), convolution.bias  # (C, C'), (C,)
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    if linear is not None:
        bias = linear.weight @ bias + (0 if linear.bias is None else linear.bias)
        weight = linear.weight @ weight
    return linear_layer(weight, bias)


def linear_layer(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A layer with copies of a weight (outputs, inputs) and a bias (outputs,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    return layer.eval()


def shared_linear(linear: nn.Linear, x: Tensor) -> Tensor:
    """A layer that several blocks share: (B, inputs) -> (B, outputs).

    A compiler packs a layer's weights for every place where it is called, and blocks that share one then read a copy
    each from memory, which for one image takes longer than the product. Written out, all read the same weights, which
    stay in the cache if they are small enough.
    """
    is_small = linear.weight.numel() * linear.weight.element_size() <= CACHE_BYTES
    if is_small and torch.compiler.is_compiling() and len(x) == 1 and x.device.type == "cpu":
        return ((linear.weight * x).sum(dim=1) + linear.bias)[None]
    return linear(x)
