"""A network with gates in a tensor against its scheme, and against Eq. 4 written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ean_core import EANError, create_model
from ean_core.attention import Attention, build_attention
from ean_core.networks import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.supernet.gates import gated_attention, gated_forward, gated_logits

ATTENTIONS = ("se", "sge", "dia", "timm:eca")  # the last one gives features and no mask
SCHEMES = ("111111111", "000000000", "010011100", "101100011")


def network_of(attention: str, *, sharing: str = "stage") -> StagedNetwork:
    """A supernet whose attention does something."""
    torch.manual_seed(0)
    network = create_model("resnet20", num_classes=5, attention=attention, sharing=sharing).eval()
    for stage in network.stages:
        for parameter in stage.attention.parameters():
            nn.init.normal_(parameter, std=0.7)
    return network


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("sharing", ["stage", "block"])
@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
@torch.no_grad()
def test_gates_of_zero_and_one_are_the_scheme(attention: str, sharing: str, dtype: torch.dtype) -> None:
    network, images = network_of(attention, sharing=sharing), torch.randn(2, 3, 12, 12)
    outputs = []
    for scheme in SCHEMES:
        network.set_scheme(scheme)
        wanted = network(images)
        network.set_scheme(None)  # the bits must not matter
        got = gated_logits(network, torch.tensor([int(bit) for bit in scheme]).to(dtype), images)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
        outputs.append(wanted)
    assert not torch.allclose(outputs[0], outputs[1], rtol=1e-2)


@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_gates_between_zero_and_one_are_eq_4(attention: str) -> None:
    """Mixed feature by feature, the state of a recurrent attention too."""
    stage = network_of(attention).double().layer2
    x, gates = torch.randn(2, 16, 8, 8).double(), torch.tensor([0.3, 0.8, 0.55]).double()
    wanted, state = x, None
    for gate, block in zip(gates, stage.blocks, strict=True):
        residual, shortcut = block(wanted)
        recalibrated, new = stage.attention(residual, state)
        if new is not None:
            state = tuple(gate * n + (1 - gate) * o for n, o in zip(new, state or (0.0, 0.0), strict=True))
        wanted = torch.relu(shortcut + gate * recalibrated + (1 - gate) * residual)
    torch.testing.assert_close(gated_forward(stage, gates, x), wanted, rtol=1e-12, atol=1e-12)


class Infinite(Attention):
    """A mask that has overflowed."""

    def mask(self, residual: Tensor, state: object) -> tuple[Tensor, object]:
        return residual.new_full((1, 1, 1, 1), float("inf")), state


class InfiniteOutput(Attention):
    """An attention whose output has overflowed to infinity."""

    def forward(self, residual: Tensor, state: object = None) -> tuple[Tensor, object]:
        return residual / 0, state


@pytest.mark.parametrize("kind", [Infinite, InfiniteOutput])
def test_a_closed_gate_leaves_nothing_of_an_infinite_mask(kind: type[Attention]) -> None:
    residual = torch.randn(2, 4, 3, 3)
    closed, _ = gated_attention(kind(), torch.tensor(False), residual, None)
    assert torch.equal(closed, residual)
    opened, _ = gated_attention(kind(), torch.tensor(True), residual, None)
    assert opened.isinf().all()


@pytest.mark.parametrize("attention", ["se", "dia"])
def test_the_mask_is_gated_and_not_the_features(attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice between features would be one more pass over them, and one more backwards."""
    chosen, where = [], torch.where
    monkeypatch.setattr(torch, "where", lambda gate, on, off: chosen.append(on.numel()) or where(gate, on, off))
    gated_attention(build_attention(attention, 16), torch.tensor(True), torch.randn(2, 16, 5, 3), None)
    assert set(chosen) == {2 * 16}


def test_an_activation_and_blocks_without_shortcut() -> None:
    class Plain(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            return 2 * x, None

    stage, x = Stage([Plain(), Plain()], Infinite(), activation=nn.Identity()), torch.randn(1, 4, 2, 2)
    assert torch.equal(gated_forward(stage, torch.tensor([False, False]), x), 4 * x)


def test_gates_that_do_not_fit_are_refused() -> None:
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(EANError, match="no attention there"):
        gated_logits(create_model("resnet20"), torch.ones(9), images)
    with pytest.raises(EANError, match="9 connections, got gates of .8,."):
        gated_logits(network_of("se"), torch.ones(8), images)
