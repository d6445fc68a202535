"""Attention joined to the convolution before it gives what the two give one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ean_core import create_model
from ean_core.attention import (
    ATTENTIONS,
    DenseImplicitAttention,
    SpatialGroupEnhance,
    SqueezeExcitation,
    dia,
    se,
    sge,
)
from ean_core.attention import build_attention as build
from ean_core.attention.base import ChannelAttention
from ean_core.deploy import fused_attention
from ean_core.deploy.fold import fold_batch_norm
from tests.helpers.tiny_networks import check_schemes, difference, images, trained

OWN_FORMS = {"se": se.JoinedSqueeze, "sge": sge.JoinedGroups, "dia": dia.JoinedRecurrent}


def convolutions(bias: bool = True) -> list[nn.Conv2d]:
    """Two blocks' last convolutions."""
    return [nn.Conv2d(4, 16, 1, bias=bias).eval() for _ in range(2)]


def features(channels: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    return torch.randn(3, channels, 5, 7).contiguous(memory_format=layout)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_two_blocks_of_a_stage_equal_convolution_and_attention(
    name: str, layout: torch.memory_format, bias: bool
) -> None:
    torch.manual_seed(0)
    module, before = build(name, 16).eval(), convolutions(bias)
    if name == "sge":
        nn.init.normal_(module.weight)
    forms = module.joined(before)
    if forms is None:
        pytest.skip(f"{name} has no joined form")
    assert [type(form) for form in forms] == [OWN_FORMS.get(name, fused_attention.JoinedMeans)] * 2
    state = wanted_state = None
    with torch.inference_mode():
        for form, convolution in zip(forms, before, strict=True):
            narrow, shortcut = features(4, layout).relu(), features(16, layout)
            out, wanted_state = module(convolution(narrow), wanted_state)
            got, state = form(narrow, shortcut, state)
            torch.testing.assert_close(got, (out + shortcut).relu(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state, wanted_state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(OWN_FORMS))
def test_nothing_is_as_wide_as_the_residual_but_the_sum(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means are taken of a quarter of the channels, which is what makes it faster."""
    seen = []
    original = fused_attention.channel_means
    for module in (fused_attention, se, sge, dia):
        monkeypatch.setattr(module, "channel_means", lambda x: seen.append(x.shape[1]) or original(x))
    network = fold_batch_norm(create_model("resnet29", attention=name, num_classes=3).eval())
    with torch.inference_mode():
        network(torch.randn(1, 3, 8, 8))
    assert seen == [16] * 3 + [32] * 3 + [64] * 3


@pytest.mark.parametrize("batch", [1, 3])
def test_the_small_layers_of_a_block(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SE has two left; DIA three: both bottlenecks feed one layer. None is written out where nothing is compiled."""
    inputs: list[int] = []
    real = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: inputs.append(x.shape[1]) or real(self, x))
    for name, expected in (("se", [4, 1]), ("dia", [4, 16, 8])):
        inputs.clear()
        with torch.inference_mode():
            build(name, 16).eval().joined(convolutions())[0](features(4)[:batch], features(16)[:batch])
        assert inputs == expected


def test_compiled_layers_are_written_out_on_a_processor_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # The flag and not the function, which the compiler knows by its identity from when it first looks.
    monkeypatch.setattr(torch.compiler, "_is_compiling_flag", True)
    called: list[str] = []
    real = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: called.append(x.device.type) or real(self, x))
    for device in ("cpu", "meta"):
        assert fused_attention.shared(nn.Linear(4, 2, device=device), torch.ones(1, 4, device=device)).shape == (1, 2)
    assert called == ["meta"]


def test_blocks_share_the_weights_that_are_the_same_for_all() -> None:
    first, second = build("dia", 16).eval().joined(convolutions())
    assert first.gates is second.gates
    assert first.of_hidden is second.of_hidden
    first, second = build("se", 16).eval().joined(convolutions())
    assert first.excite is second.excite
    assert first.squeeze is not second.squeeze


def test_an_attention_of_the_channels_means_is_joined_by_them() -> None:
    class Root(ChannelAttention):
        def mask_of(self, pooled: Tensor, state: object) -> tuple[Tensor, object]:
            return pooled.abs().sqrt(), state

    module, (convolution, _) = Root().eval(), convolutions()
    form = module.joined([convolution])[0]
    narrow, shortcut = features(4), features(16)
    with torch.inference_mode():
        wanted = (module(convolution(narrow))[0] + shortcut).relu()
        torch.testing.assert_close(form(narrow, shortcut)[0], wanted, rtol=1e-4, atol=1e-5)


class HalfMask(SqueezeExcitation):
    def mask(self, residual: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.full_like(residual, 0.5), state


class OtherMaskOf(SqueezeExcitation):
    def mask_of(self, pooled: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.full_like(pooled, 0.5), state


class Forgets(DenseImplicitAttention):
    def mask_of(self, pooled: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.full_like(pooled, 0.5), None


class HalfGroups(SpatialGroupEnhance):
    def group_mask(self, residual: Tensor) -> Tensor:
        return residual.new_full((residual.shape[0], self.groups, 1, *residual.shape[2:]), 0.5)


class HalfForward(SpatialGroupEnhance):
    def forward(self, residual: Tensor, state: object = None) -> tuple[Tensor, object]:
        return residual * 0.5, state


@pytest.mark.parametrize("cls", [HalfMask, OtherMaskOf, Forgets, HalfGroups, HalfForward])
def test_a_subclass_that_computes_something_else_is_not_overruled(cls: Callable[..., nn.Module]) -> None:
    network = trained("resnet29", "se")
    for stage in network.stages:
        stage.attention = cls(stage.blocks[0].conv3.out_channels).eval()
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), fold_batch_norm(network)(x)) < 1e-4


def test_nothing_is_overwritten_where_there_are_gradients() -> None:
    form = build("se", 16).eval().joined(convolutions())[0]
    narrow, shortcut = features(4).requires_grad_(), features(16)
    kept = shortcut.clone()
    form(narrow, shortcut)[0].sum().backward()
    assert torch.isfinite(narrow.grad).all()
    assert torch.equal(shortcut, kept)


@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_only_bottlenecks_and_only_folded_ones_are_joined(sharing: str) -> None:
    network = trained("resnet29", "dia", sharing=sharing, scheme="110 | 000 | 011")
    assert all(stage.joined is None for stage in network.stages)
    folded = fold_batch_norm(network)
    forms = [[isinstance(form, fused_attention.Joined) for form in stage.joined] for stage in folded.stages]
    first = [True, True, sharing == "stage"]  # one module per block: the third was pruned away
    assert forms == [first, [False] * 3, first[::-1]]
    basic = fold_batch_norm(trained("resnet20", "dia", sharing=sharing))
    assert not any(isinstance(form, fused_attention.Joined) for stage in basic.stages for form in stage.joined)


def test_a_joined_supernet_takes_any_scheme() -> None:
    network = trained("resnet29", "dia")
    folded = fold_batch_norm(network, prune=False)
    check_schemes(network, folded, "101 | 011 | 100", "000 | 000 | 000", "111 | 010 | 111", near=1e-4)
