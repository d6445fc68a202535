"""Masks against what the attention really multiplies by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ean_core.attention import ATTENTIONS, Attention, State
from ean_core.inference.explain.masks import attention_masks, fit_mask
from tests.inference.explain.helpers import network


@pytest.mark.parametrize("attention", list(ATTENTIONS))
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_masks_are_what_the_residual_is_multiplied_by(attention: str, sharing: str) -> None:
    net = network(attention, sharing=sharing)
    images = torch.randn(2, 3, 16, 16)
    masks = {(mask.stage, mask.block): mask.values for mask in attention_masks(net, net, images)}
    expected = {}
    with torch.no_grad():  # the network once more, by hand
        x = net.relu(net.bn1(net.conv1(images)))
        for number, stage in enumerate(net.stages):
            state = None
            for index, block in enumerate(stage.blocks):
                residual, shortcut = block(x)
                if stage.bits[index]:
                    module = stage.attention if sharing == "stage" else stage.attention[index]
                    out, state = module(residual, state if sharing == "stage" else None)
                    expected[number, index] = (residual, out)
                    residual = out
                x = (residual + shortcut).relu()
    assert list(masks) == list(expected) == [(0, 1), (1, 0), (2, 1), (2, 2)]
    for block, (residual, out) in expected.items():
        torch.testing.assert_close(masks[block] * residual, out)
        assert masks[block].shape[2:] == ((1, 1) if attention != "sge" else residual.shape[2:])
    assert not any(module._forward_hooks for module in net.modules())


def test_squeeze_and_excitation_masks_by_the_formula() -> None:
    net = network("se")
    images = torch.randn(1, 3, 16, 16)
    (first, *_) = attention_masks(net, net, images)
    with torch.no_grad():
        x = net.stages[0].blocks[0](net.relu(net.bn1(net.conv1(images))))
        residual, _ = net.stages[0].blocks[1](sum(x).relu())
    module, pooled = net.stages[0].attention, residual.mean(dim=(2, 3))[0]
    hidden = (module.squeeze.weight @ pooled + module.squeeze.bias).clamp(min=0)
    expected = 1 / (1 + torch.exp(-(module.excite.weight @ hidden + module.excite.bias)))
    torch.testing.assert_close(first.of_channels(0), expected.detach())


def test_attention_without_a_mask_gets_the_factor_that_fits() -> None:
    pytest.importorskip("timm")
    net = network("timm:eca")
    images = torch.randn(2, 3, 16, 16)
    (first, *_) = attention_masks(net, net, images)
    with torch.no_grad():
        residual, _ = net.stages[0].blocks[1](sum(net.stages[0].blocks[0](net.relu(net.bn1(net.conv1(images))))).relu())
        out, _ = net.stages[0].attention(residual)
    assert first.fitted
    assert first.values.shape == (2, residual.shape[1], 1, 1), "eca weights channels"
    torch.testing.assert_close(first.values * residual, out, rtol=1e-3, atol=1e-4)
    residual, gain = torch.randn(2, 5, 4, 3), torch.rand(2, 1, 4, 3)
    torch.testing.assert_close(fit_mask(residual, residual * gain).float(), gain)


def test_attention_that_overrides_forward_alone_gets_the_factor_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Halved(Attention):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
            return residual / 2, state

    monkeypatch.setitem(ATTENTIONS, "halved", Halved)
    net = network("halved")
    for mask in attention_masks(net, net, torch.randn(2, 3, 16, 16)):
        assert mask.fitted
        torch.testing.assert_close(mask.values, torch.full_like(mask.values, 0.5))
