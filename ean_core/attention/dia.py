"""DIANet: Dense-and-Implicit Attention Network (https://arxiv.org/abs/1905.10671)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ean_core.attention.base import ChannelAttention, State
from ean_core.attention.functional import channel_means
from ean_core.deploy.fused_attention import Joined, after, layer, shared


class DenseImplicitAttention(ChannelAttention):
    """Channel mask from an LSTM-like cell that runs over the depth of a stage.

    Departs from a standard LSTM as the paper does: each of the two inputs goes through its own bottleneck
    (C -> C/r -> ReLU -> 4C), and the hidden vector is o * sigmoid(cell) rather than o * tanh(cell), so that it is a
    mask in (0, 1).

    Args:
        channels: C of the residual (B, C, H, W).
        reduction: r of the bottlenecks, floor division, at least one unit (the paper: 4 on CIFAR, 20 on ImageNet).
    """

    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.from_input = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 4 * channels))
        self.from_hidden = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 4 * channels))

    def mask_of(self, pooled: Tensor, state: State) -> tuple[Tensor, State]:
        """The channels' means (B, C) -> mask (B, C), which is also the hidden vector.

        The state is (hidden, cell), each (B, C), zero at the start of a stage.
        """
        hidden, cell = started(state, pooled, pooled.shape[1])
        hidden, cell = advance(self.from_input(pooled) + self.from_hidden(hidden), cell)
        return hidden, (hidden, cell)

    def joined(self, convolutions: Sequence[nn.Conv2d]) -> Sequence[Joined] | None:
        """With the convolutions' weights in the first layer, and the gates made by one layer; see `Joined`."""
        if type(self) is not DenseImplicitAttention:
            return super().joined(convolutions)
        to_gates, more = self.from_input[2], self.from_hidden[2]
        gates = layer(torch.cat([to_gates.weight, more.weight], dim=1), to_gates.bias + more.bias)
        return [JoinedRecurrent(self, one, gates) for one in convolutions]


class JoinedRecurrent(Joined):
    """The cell joined to the convolution before it.

    P u + Q v, of what the two bottlenecks made of the means and of the hidden vector, is [P Q] [u, v]: one layer.

    Args:
        attention: where the weights are from.
        convolution: as for `Joined`.
        gates: [P Q], the same for all blocks.
    """

    def __init__(self, attention: DenseImplicitAttention, convolution: nn.Conv2d, gates: nn.Linear) -> None:
        super().__init__(convolution)
        self.of_means, self.of_hidden = after(convolution, attention.from_input[0]), attention.from_hidden[0]
        self.gates = gates

    def mask(self, narrow: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C), which is also the hidden vector."""
        means = channel_means(narrow)
        hidden, cell = started(state, means, self.convolution.out_channels)
        hidden, cell = advance(self.gates_of(means, hidden), cell)
        return hidden, (hidden, cell)

    def gates_of(self, means: Tensor, hidden: Tensor) -> Tensor:
        """(B, 4C), of the means (B, C') of what the convolution takes and the last hidden vector (B, C)."""
        bottlenecks = torch.cat([self.of_means(means), shared(self.of_hidden, hidden)], dim=1).relu()
        return shared(self.gates, bottlenecks)


def started(state: State, like: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """The hidden vector and the cell, each (B, channels): zero at the start of a stage, on the device of `like`."""
    if state is not None:
        return state
    zero = like.new_zeros(like.shape[0], channels)  # of `len` an export would make a constant
    return zero, zero


def advance(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden vector and cell, each (B, C), of the gates (B, 4C) and the last cell."""
    take, forget, candidate, give = gates.chunk(4, dim=1)
    cell = forget.sigmoid() * cell + take.sigmoid() * candidate.tanh()
    return give.sigmoid() * cell.sigmoid(), cell
