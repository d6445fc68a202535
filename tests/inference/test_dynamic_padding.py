"""'Same' padding by whole numbers against timm's, which rounds floating-point numbers."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from ean_core.inference.dynamic_padding import SameConvolution, make_padding_dynamic, same_padding

timm_layers = pytest.importorskip("timm.layers")


def test_the_amounts_are_timms() -> None:
    for values in itertools.product(range(1, 40), (1, 3, 5, 7), (1, 2, 3), (1, 2)):
        assert same_padding(*values) == timm_layers.get_same_padding(*values)


@torch.no_grad()
def test_convolutions_are_replaced_by_equal_ones() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        timm_layers.Conv2dSame(3, 6, 3, stride=2), nn.ReLU(), timm_layers.Conv2dSame(6, 6, (5, 3), stride=2, groups=6)
    ).eval()
    images = [torch.randn(2, 3, height, width) for height, width in ((8, 8), (7, 12), (13, 5))]
    wanted = [network(x) for x in images]
    replaced = make_padding_dynamic(network)
    assert [type(layer) for layer in replaced] == [SameConvolution, nn.ReLU, SameConvolution]
    for x, outputs in zip(images, wanted, strict=True):
        assert torch.equal(replaced(x), outputs)
