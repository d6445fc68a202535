"""A mobile trunk in all that is done with a network: blocks end without an activation, and some have no shortcut."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from ean_core import Scheme
from ean_core.attention import ATTENTIONS
from ean_core.benchmark.latency_table import check_table, measure_table
from ean_core.data.normalize import Normalize
from ean_core.deploy.fold import fold_batch_norm
from ean_core.deploy.modes import MODES
from ean_core.inference.explain.cam import grad_cam
from ean_core.inference.explain.masks import attention_masks
from ean_core.networks import StagedNetwork
from ean_core.supernet.gates import gated_logits
from ean_core.supernet.path_metric import Top1
from ean_core.supernet.scorer import Scorer
from tests.helpers.mobile_trunk import BLOCKS, mobile_arch
from tests.helpers.tiny_networks import difference, images, trained
from tests.inference.explain.helpers import reference_cam

__all__ = ["mobile_arch"]
SCHEMES = ("1 11 11", "0 00 00", "1 10 01", "0 01 10")
WHOLE = "1 10 11"
ALL = (None, *ATTENTIONS, "timm:eca", "timm:cbam")


def slow(network: StagedNetwork, x: Tensor) -> Tensor:
    """The logits by Eq. 4, block by block, without an activation."""
    x = network.forward_stem(x)
    for stage in network.stages:
        state = None
        for block, index, bit in zip(stage.blocks, range(stage.depth), stage.bits, strict=True):
            residual, shortcut = block(x)
            if bit:
                attention = stage.attention_of(index)
                residual, state = attention(residual, state if stage.is_shared else None)
            x = residual if shortcut is None else residual + shortcut
    return network.forward_head(x)


@pytest.mark.parametrize("attention", ALL)
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_every_mode_of_this_machine(mobile_arch: str, attention: str | None, sharing: str) -> None:
    if attention is None and sharing == "block":
        pytest.skip("nothing to share")
    network = trained(mobile_arch, attention, sharing=sharing, scheme=attention and WHOLE)
    assert any(not block.has_shortcut for stage in network.stages for block in stage.blocks)
    x = images(network, size=32)
    with torch.inference_mode():
        wanted = slow(network, x)
        for mode in ("eager", "channels_last", "folded", "bf16"):
            assert difference(wanted, MODES[mode].build(network, x)(x)) <= max(MODES[mode].tolerance, 1e-6), mode


@pytest.mark.parametrize("attention", [None, "se", "dia"])
def test_what_the_compiler_is_given(mobile_arch: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend="eager", fullgraph=True, dynamic=False))
    network = trained(mobile_arch, attention, scheme=attention and WHOLE)
    x = images(network, size=32)
    with torch.inference_mode():
        assert difference(slow(network, x), MODES["compiled"].build(network, x)(x)) < 1e-4


@pytest.mark.parametrize("attention", ["se", "sge", "dia", "timm:eca"])
def test_folded_and_gated_supernets_take_any_scheme(mobile_arch: str, attention: str) -> None:
    network = trained(mobile_arch, attention)
    folded = fold_batch_norm(network, prune=False)
    x = images(network, size=32)
    for scheme in SCHEMES:
        bits = [int(bit) for bit in scheme.replace(" ", "")]
        for one in (network, folded):
            one.set_scheme(scheme)
        with torch.inference_mode():
            wanted = slow(network, x)
            assert difference(wanted, folded(x)) < 1e-4
            assert torch.equal(network.prune()(x), wanted)
            for dtype in (torch.bool, torch.float32):  # the captured step's, and DARTS's
                assert difference(wanted, gated_logits(network, torch.tensor(bits).to(dtype), x)) < 1e-5
    gates = torch.full((sum(BLOCKS),), 0.5, requires_grad=True)
    gated_logits(network, gates, x).square().sum().backward()
    assert (gates.grad.abs() > 0).all()


@pytest.mark.parametrize("attention", ["se", "dia"])
def test_scores_with_common_first_stages(mobile_arch: str, attention: str) -> None:
    network, normalize = trained(mobile_arch, attention), Normalize((0.5,) * 3, (0.25,) * 3)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 12, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 7, (2, 12), generator=generator)
    batches = [{"inputs": one, "labels": two} for one, two in zip(pixels, labels, strict=True)]
    schemes = [Scheme.parse(text, blocks=BLOCKS) for text in ("11111", "11100", "11101", "00101")]
    scorer = Scorer(network, batches, metric=Top1(normalize), max_bytes=1 << 28)
    found = [score.value for score in scorer(schemes)]
    assert scorer.features.nbytes > 0
    again = copy.deepcopy(network).eval()
    for scheme, value in zip(schemes, found, strict=True):
        again.set_scheme(scheme)
        with torch.inference_mode():
            right = [slow(again, normalize(b["inputs"])).argmax(1) == b["labels"] for b in batches]
        assert value == pytest.approx(100 * torch.cat(right).float().mean().item())


def test_cam_masks_and_times(mobile_arch: str) -> None:
    network = trained(mobile_arch, "se", scheme=WHOLE)
    x = images(network, size=32)
    for stage in (network.stages[0], network.stages[-1]):
        heat, output = grad_cam(network, stage, x, [lambda logits: logits[1]] * 2)
        torch.testing.assert_close(output, network(x).detach())
        np.testing.assert_allclose(heat[0], reference_cam(network, stage, x[:1], lambda one: one[1]), atol=1e-4)
    assert [(mask.stage, mask.block) for mask in attention_masks(network, network, x)] == [
        (0, 0),
        (1, 0),
        (2, 0),
        (2, 1),
    ]
    names = {"arch": mobile_arch, "attention": "se", "options": {}, "sharing": "stage"}
    network.set_scheme(None)
    table = check_table(measure_table(network, x, mode="folded", rounds=1, **names), network, x, count=2)
    assert len(table.increments) == sum(BLOCKS)
