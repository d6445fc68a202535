"""Attention fused with the convolution before it against the two one after the other."""

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
)
from ean_core.attention import build_attention as build
from ean_core.attention.base import ChannelAttention
from ean_core.deploy import fused_attention, sge_tails
from ean_core.deploy.block_tails import AttentionTail, BlockTail, ChannelAttentionTail
from ean_core.deploy.fold import fold_batch_norm
from ean_core.deploy.fused_attention import (
    FusedChannelAttention,
    FusedDenseImplicitAttention,
    FusedSqueezeExcitation,
    shared_linear,
)
from ean_core.deploy.sge_tails import FusedSpatialGroupEnhance, SpatialGroupTail
from ean_core.deploy.tail_registry import TAILS, Tails, find_tails
from tests.helpers.tiny_networks import check_schemes, difference, images, trained

FUSED = {"se": FusedSqueezeExcitation, "sge": FusedSpatialGroupEnhance, "dia": FusedDenseImplicitAttention}


def convolutions(bias: bool = True) -> list[nn.Conv2d]:
    """The last convolutions of two bottlenecks, 4 to 16 channels."""
    return [nn.Conv2d(4, 16, 1, bias=bias).eval() for _ in range(2)]


def fused_tails(attention: nn.Module, last_convolutions: list[nn.Conv2d]) -> list[BlockTail]:
    """The tails that PyTorch's backend has for these blocks."""
    return find_tails(attention, "torch").fused(attention, last_convolutions)


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
    if find_tails(module, "torch").fused is None:
        pytest.skip(f"{name} has no fused form")
    tails = fused_tails(module, before)
    assert [type(tail) for tail in tails] == [FUSED.get(name, FusedChannelAttention)] * 2
    state = wanted_state = None
    with torch.inference_mode():
        for tail, convolution in zip(tails, before, strict=True):
            hidden, shortcut = features(4, layout).relu(), features(16, layout)
            out, wanted_state = module(convolution(hidden), wanted_state)
            got, state = tail(hidden, shortcut, state)
            torch.testing.assert_close(got, (out + shortcut).relu(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(state, wanted_state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_the_tail_on_the_residual_equals_attention_and_addition(
    name: str, layout: torch.memory_format, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    module = build(name, 16).eval().to(dtype)
    if name == "sge":
        nn.init.normal_(module.weight)
    tail, state, wanted_state = find_tails(module, "torch").residual(module), None, None
    kinds = {"sge": SpatialGroupTail, "se": ChannelAttentionTail, "dia": ChannelAttentionTail}
    assert type(tail) is kinds.get(name, AttentionTail)
    near = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 3e-2}[dtype]
    with torch.inference_mode():
        for _ in range(2):
            residual, shortcut = features(16, layout).to(dtype), features(16, layout).to(dtype)
            out, wanted_state = module(residual, wanted_state)
            wanted = (out + shortcut).relu()
            alone, _ = module(residual, state)
            got, _ = tail(residual.clone(memory_format=torch.preserve_format), None, state)
            torch.testing.assert_close(got, alone.relu(), rtol=near, atol=near)  # a block without a shortcut
            got, state = tail(residual, shortcut, state)
            torch.testing.assert_close(got, wanted, rtol=near, atol=near)
        assert got.data_ptr() == residual.data_ptr()  # in place


@pytest.mark.parametrize("name", list(FUSED))
def test_nothing_is_as_wide_as_the_residual_but_the_sum(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Means are taken of a quarter of the channels, which is what makes it faster."""
    seen = []
    original = fused_attention.channel_means
    for module in (fused_attention, sge_tails):
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
            fused_tails(build(name, 16).eval(), convolutions())[0](features(4)[:batch], features(16)[:batch])
        assert inputs == expected


def test_compiled_layers_are_written_out_on_a_processor_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # The flag and not the function, which the compiler knows by its identity from when it first looks.
    monkeypatch.setattr(torch.compiler, "_is_compiling_flag", True)
    called: list[str] = []
    real = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: called.append(x.device.type) or real(self, x))
    for device in ("cpu", "meta"):
        linear = nn.Linear(4, 2, device=device)
        assert shared_linear(linear, torch.ones(1, 4, device=device)).shape == (1, 2)
    assert called == ["meta"]


def test_blocks_share_the_weights_that_are_the_same_for_all() -> None:
    first, second = fused_tails(build("dia", 16).eval(), convolutions())
    assert first.gates is second.gates
    assert first.squeeze_hidden is second.squeeze_hidden
    first, second = fused_tails(build("se", 16).eval(), convolutions())
    assert first.excite is second.excite
    assert first.squeeze is not second.squeeze


class Root(ChannelAttention):
    def mask_of(self, means: Tensor, state: object) -> tuple[Tensor, object]:
        return means.abs().sqrt(), state


def test_an_attention_of_the_channel_means_is_fused_by_them() -> None:
    module, (convolution, _) = Root().eval(), convolutions()
    (tail,) = fused_tails(module, [convolution])
    hidden, shortcut = features(4), features(16)
    with torch.inference_mode():
        wanted = (module(convolution(hidden))[0] + shortcut).relu()
        torch.testing.assert_close(tail(hidden, shortcut)[0], wanted, rtol=1e-4, atol=1e-5)


def test_tails_of_ones_own_can_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the exact type; other backends use them too."""
    own = Tails(lambda attention: AttentionTail(attention))
    monkeypatch.setitem(TAILS, ("torch", Root), own)
    assert find_tails(Root(), "torch") is find_tails(Root(), "triton") is own
    assert find_tails(type("Other", (Root,), {})(), "torch") is not own


class HalfMask(SqueezeExcitation):
    def mask(self, residual: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.full_like(residual, 0.5), state


class OtherMaskOf(SqueezeExcitation):
    def mask_of(self, means: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.full_like(means, 0.5), state


class Forgets(DenseImplicitAttention):
    def mask_of(self, means: Tensor, state: object) -> tuple[Tensor, object]:
        return torch.full_like(means, 0.5), None


class HalfGroups(SpatialGroupEnhance):
    def group_mask(self, residual: Tensor) -> Tensor:
        return residual.new_full((residual.shape[0], self.groups, 1, *residual.shape[2:]), 0.5)


class HalfForward(SpatialGroupEnhance):
    def forward(self, residual: Tensor, state: object = None) -> tuple[Tensor, object]:
        return residual * 0.5, state


class HalfForwardSqueeze(SqueezeExcitation):
    def forward(self, residual: Tensor, state: object = None) -> tuple[Tensor, object]:
        return residual * 0.5, state


@pytest.mark.parametrize("cls", [HalfMask, OtherMaskOf, Forgets, HalfGroups, HalfForward, HalfForwardSqueeze])
@pytest.mark.parametrize("arch", ["resnet20", "resnet29"])
def test_a_subclass_that_computes_something_else_is_not_overruled(cls: Callable[..., nn.Module], arch: str) -> None:
    network = trained(arch, "se")
    for stage, channels in zip(network.stages, network.stage_channels, strict=True):
        stage.attention = cls(channels, **({"groups": 8} if issubclass(cls, SpatialGroupEnhance) else {})).eval()
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), fold_batch_norm(network)(x)) < 1e-4


def test_nothing_is_overwritten_where_there_are_gradients() -> None:
    tail = fused_tails(build("se", 16).eval(), convolutions())[0]
    hidden, shortcut = features(4).requires_grad_(), features(16)
    kept = shortcut.clone()
    tail(hidden, shortcut)[0].sum().backward()
    assert torch.isfinite(hidden.grad).all()
    assert torch.equal(shortcut, kept)


@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_only_bottlenecks_and_only_folded_ones_are_fused(sharing: str) -> None:
    network = trained("resnet29", "dia", sharing=sharing, scheme="110 | 000 | 011")
    folded = fold_batch_norm(network)
    fused = [[getattr(tail, "takes_hidden", False) for tail in stage.connected] for stage in folded.stages]
    first = [True, True, sharing == "stage"]  # one module per block: the third was pruned away
    assert fused == [first, [False] * 3, first[::-1]]
    basic = fold_batch_norm(trained("resnet20", "dia", sharing=sharing))
    assert not any(tail.takes_hidden for stage in basic.stages for tail in stage.connected)


def test_a_fused_supernet_takes_any_scheme() -> None:
    network = trained("resnet29", "dia")
    folded = fold_batch_norm(network, prune=False)
    check_schemes(network, folded, "101 | 011 | 100", "000 | 000 | 000", "111 | 010 | 111", near=1e-4)
