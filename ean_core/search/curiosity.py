"""Exploration by Random Network Distillation (https://arxiv.org/abs/1810.12894), on schemes.

A predictor learns the outputs of a fixed random network on the schemes seen so far. Its error is large on schemes
unlike them, and is the bonus g_rnd of Eq. 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ean_core.scheme import Scheme


class Curiosity:
    """The fixed network sigma_1 and its trained predictor sigma_2, with the sizes of the released code.

    Args:
        bits: m, the number of blocks.
        learning_rate: of Adam on sigma_2.
        hidden: width of the hidden layers.
        generator: draws the initial weights.
    """

    def __init__(self, bits: int, *, generator: torch.Generator, learning_rate: float = 5e-2, hidden: int = 32) -> None:
        outputs = 4 * bits
        self.target = perceptron([bits, hidden, hidden, outputs], generator=generator).requires_grad_(False)
        self.predictor = perceptron([bits, hidden, outputs], generator=generator)
        self.optimizer = torch.optim.Adam(self.predictor.parameters(), lr=learning_rate)

    def errors(self, schemes: Sequence[Scheme]) -> Tensor:
        """|sigma_1(a) - sigma_2(a)|^2 for every scheme, (N,), with the predictor's gradient."""
        dtype = next(self.predictor.parameters()).dtype
        bits = torch.tensor([scheme.bits for scheme in schemes], dtype=dtype)  # (N, m)
        return (self.target(bits) - self.predictor(bits)).square().sum(dim=1)

    @torch.no_grad()
    def bonus(self, scheme: Scheme) -> float:
        """g_rnd (Eq. 7) of a scheme."""
        return float(self.errors([scheme])[0])

    def update(self, schemes: Sequence[Scheme]) -> None:
        """Take one Adam step on the error of these schemes (Algorithm 1, line 14)."""
        self.optimizer.zero_grad()
        self.errors(schemes).sum().backward()
        self.optimizer.step()


def perceptron(sizes: Sequence[int], *, generator: torch.Generator) -> nn.Sequential:
    """Linear layers with ReLU in between, with PyTorch's default uniform initialization drawn from `generator`."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
        bound = inputs**-0.5
        with torch.no_grad():
            linear.weight.uniform_(-bound, bound, generator=generator)
            linear.bias.uniform_(-bound, bound, generator=generator)
        layers += [linear] if index == len(sizes) - 2 else [linear, nn.ReLU()]
    return nn.Sequential(*layers)
