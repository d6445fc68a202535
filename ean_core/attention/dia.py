"""DIANet: Dense-and-Implicit Attention Network (https://arxiv.org/abs/1905.10671)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention.base import ChannelAttention, State


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

    def mask_of(self, means: Tensor, state: State) -> tuple[Tensor, State]:
        """Channel means (B, C) -> mask (B, C), which is also the hidden vector.

        The state is (hidden, cell), each (B, C), zero at the start of a stage.
        """
        hidden, cell = (torch.zeros_like(means),) * 2 if state is None else state
        hidden, cell = update_cell(self.from_input(means) + self.from_hidden(hidden), cell)
        return hidden, (hidden, cell)


def update_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden vector and cell, each (B, C), from the gates (B, 4C) and the last cell (B, C)."""
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
    cell = forget_gate.sigmoid() * cell + input_gate.sigmoid() * candidate.tanh()
    return output_gate.sigmoid() * cell.sigmoid(), cell
