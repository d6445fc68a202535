"""A stage: Eq. 4 block by block, with any ending of the blocks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ean_core import EANError
from ean_core.attention import Attention
from ean_core.networks.blocks import Bottleneck
from ean_core.networks.stage import Stage


class Doubles(nn.Module):
    """A block whose residual is twice its input."""

    def __init__(self, *, shortcut: bool = True) -> None:
        super().__init__()
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return 2 * x, x if self.shortcut else None


class Tenth(Attention):
    """An attention whose mask is 0.1 everywhere."""

    def mask(self, residual: Tensor, state: object) -> tuple[Tensor, object]:
        return residual.new_full((1, 1, 1, 1), 0.1), state


def test_a_block_is_recalibrated_where_its_bit_is_set() -> None:
    stage, x = Stage([Doubles(), Doubles()], Tenth()), torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    for bits, factor in (((1, 1), 1.2 * 1.2), ((1, 0), 1.2 * 3), ((0, 0), 9)):
        stage.bits = bits
        torch.testing.assert_close(stage(x).flatten(), torch.tensor([factor, 0.0]))


@pytest.mark.parametrize(("activation", "negative"), [(nn.Identity(), -4.0), (torch.relu_, 0.0), (nn.ReLU6(), 0.0)])
def test_the_ending_of_the_blocks_is_a_parameter(activation: nn.Module, negative: float) -> None:
    """As MobileNets have it: no activation after the addition, and blocks without a shortcut."""
    blocks = [Doubles(shortcut=False), Doubles(shortcut=False)]
    stage, x = Stage(blocks, activation=activation), torch.tensor([1.0, -1.0, 2.0]).view(1, 3, 1, 1)
    third = 6.0 if isinstance(activation, nn.ReLU6) else 8.0
    assert stage(x).flatten().tolist() == [4.0, negative, third]
    assert x.flatten().tolist() == [1.0, -1.0, 2.0]


def test_forward_hidden_is_what_conv3_takes() -> None:
    block, x = Bottleneck(8, 4, stride=2).eval(), torch.randn(2, 8, 6, 6)
    hidden, shortcut = block.forward_hidden(x)
    residual, same_shortcut = block(x)
    assert hidden.shape == (2, 4, 3, 3)
    assert torch.equal(block.bn3(block.conv3(hidden)), residual)
    assert torch.equal(shortcut, same_shortcut)


def test_bits_are_checked() -> None:
    with pytest.raises(EANError, match="2 blocks, got 3 bits"):
        Stage([Doubles(), Doubles()], Tenth()).check_bits((1, 0, 1))
    with pytest.raises(EANError, match="block 1 .* no attention there"):
        Stage([Doubles(), Doubles()], nn.ModuleList([Tenth(), nn.Identity()])).check_bits((0, 1))
