"""A stage whose channels are in another order inside gives the same features."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from ean_core.attention import SpatialGroupEnhance
from ean_core.deploy.channel_order import ReorderedStage, cpu_vector_bytes, interleave_stages
from ean_core.deploy.compile import compile_network
from ean_core.deploy.fold import fold_batch_norm
from ean_core.deploy.inference_stage import InferenceStage
from ean_core.deploy.interleaved_sge import InterleavedSpatialGroupEnhance, deinterleave, interleaved_order
from ean_core.networks import StagedNetwork
from ean_core.networks.backbone_wrapper import BackboneWrapper
from tests.helpers.tiny_networks import check_schemes, difference, images, trained


def learnt(network: StagedNetwork) -> StagedNetwork:
    """With biases that differ between the groups."""
    for part in network.modules():
        if isinstance(part, SpatialGroupEnhance):
            nn.init.normal_(part.bias)
    return network


def interleaved_copy(network: StagedNetwork, vector_bytes: int, *, prune: bool = True) -> StagedNetwork:
    """Folded, as a processor with vectors of so many bytes has it."""
    folded = fold_batch_norm(network, prune=prune)
    interleave_stages(folded, vector_bytes=vector_bytes)
    return folded


def groups_of(network: StagedNetwork) -> list[int]:
    """Of the stages that are reordered, else 0."""
    tails = [
        {type(tail): tail for tail in stage.connected}.get(InterleavedSpatialGroupEnhance) for stage in network.stages
    ]
    return [tail.groups if tail else 0 for tail in tails]


def test_the_order_puts_the_first_channel_of_every_group_in_front() -> None:
    assert interleaved_order(6, 3).tolist() == [0, 2, 4, 1, 3, 5]
    features = torch.randn(2, 6, 3, 4)
    assert torch.equal(deinterleave(features[:, interleaved_order(6, 3)], 3), features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scheme", ["111 | 111 | 111", "010 | 101 | 001"])
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_logits_are_those_of_the_usual_order(sharing: str, scheme: str, dtype: torch.dtype) -> None:
    network = learnt(trained("resnet29", "sge", sharing=sharing, scheme=scheme))
    x = images(network, size=8).to(dtype)
    usual = fold_batch_norm(network).to(dtype)
    other = fold_batch_norm(network).to(dtype)
    interleave_stages(other, vector_bytes=64)
    # 8 groups of 8, 16 and 32 channels: 16 numbers fill a vector, or 32 of two bytes.
    assert groups_of(other) == ([8, 0, 0] if dtype == torch.float32 else [8, 8, 0])
    assert {tail.repeats for tail in other.modules() if isinstance(tail, InterleavedSpatialGroupEnhance)} == {
        64 // x.itemsize // 8
    }
    with torch.inference_mode():
        assert difference(usual(x).float(), other(x).float()) < (1e-5 if dtype == torch.float32 else 0.05)


class Features(BackboneWrapper):
    """A task that looks at every stage's features."""

    def __init__(self, trunk: StagedNetwork) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return self.trunk.forward_features(x)


@pytest.mark.parametrize("scheme", ["111 | 111 | 111", "010 | 101 | 001"])
def test_what_looks_at_the_features_sees_the_usual_order(scheme: str) -> None:
    model = Features(learnt(trained("resnet29", "sge", scheme=scheme))).eval()
    other = interleaved_copy(model, 128)  # two stages' groups fill no vector of 32 numbers
    assert groups_of(other) == [8, 8, 0]
    x = images(model.trunk, size=8)
    with torch.inference_mode():
        for one, two in zip(model(x), other(x), strict=True):
            assert difference(one, two) < 1e-5


def test_a_network_without_a_head_gives_its_means_in_the_usual_order() -> None:
    network = learnt(trained("resnet29", "sge"))
    network.fc = None
    other = interleaved_copy(network, 512)
    assert groups_of(other) == [0, 8, 8]  # 128 numbers are the masks of 16 times 8 groups, and 8 channels have no 16
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), other(x)) < 1e-5


def test_in_a_classifier_nothing_is_put_back_in_order() -> None:
    """It would be a pass over the features that no vector takes."""
    network = learnt(trained("resnet29", "sge"))
    other = interleaved_copy(network, 512)
    assert groups_of(other) == [0, 8, 8]
    assert [type(stage) for stage in other.stages] == [InferenceStage] * 3
    other_reader = interleaved_copy(Features(network).eval(), 512)
    assert [type(stage) for stage in other_reader.stages] == [InferenceStage, ReorderedStage, ReorderedStage]
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), other(x)) < 1e-5


@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_an_interleaved_supernet_takes_any_scheme(sharing: str) -> None:
    network = learnt(trained("resnet29", "sge", sharing=sharing, scheme="010 | 111 | 111"))
    folded = interleaved_copy(network, 64, prune=False)
    assert groups_of(folded) == [8, 0, 0]
    check_schemes(network, folded, "010 | 111 | 111", "000 | 000 | 000", "111 | 010 | 100", near=1e-5)


def test_more_groups_than_a_vector_takes() -> None:
    network = learnt(trained("resnet50", "sge"))
    other = interleaved_copy(network, 32)
    assert groups_of(other) == [64] * 4  # groups of 4 channels, and vectors of 8 numbers
    x = images(network, size=32)
    with torch.inference_mode():
        assert difference(network(x), other(x)) < 1e-5


def test_masks_fill_vectors() -> None:
    network = interleaved_copy(trained("resnet29", "sge"), 64)
    hidden = torch.randn(2, 16, 4, 4)
    assert [tail.group_masks(hidden).shape for tail in network.stages[0].connected] == [(2, 16, 16)] * 3


class OtherGroups(SpatialGroupEnhance):
    """Not fused: a subclass may compute something else."""


def foreign() -> StagedNetwork:
    network = trained("resnet29", "sge")
    network.stages[0].attention = OtherGroups(64, groups=8).eval()
    return network


def without_projection() -> StagedNetwork:
    network = trained("resnet29", "sge")
    network.stages[0].blocks[0].downsample = None  # its shortcut comes from outside, in the usual order
    return network


def with_another_norm() -> StagedNetwork:
    network = trained("resnet29", "sge", scheme="101 | 111 | 111")
    network.stages[0].blocks[1].bn3 = nn.GroupNorm(4, 64).eval()  # its groups are neighbours
    return network


@pytest.mark.parametrize(
    "make",
    [
        foreign,
        without_projection,
        with_another_norm,
        lambda: trained("resnet29", "se"),
        lambda: trained("resnet20", "sge"),  # basic blocks
        lambda: trained("resnet29", "sge", scheme="000 | 111 | 111"),
    ],
)
def test_what_cannot_be_or_need_not_be_reordered_stays(make: Callable[[], StagedNetwork]) -> None:
    assert groups_of(interleaved_copy(trained("resnet29", "sge"), 64)) == [8, 0, 0]
    assert groups_of(interleaved_copy(make(), 64)) == [0, 0, 0]


def test_masks_that_would_not_fit_the_groups_stay() -> None:
    # 24 numbers are the masks of three times 8 groups, and no group has a multiple of three channels.
    assert groups_of(interleaved_copy(trained("resnet29", "sge"), 96)) == [0, 0, 0]


def test_a_compiled_network_is_reordered(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend="eager", dynamic=False))
    network = trained("resnet29", "sge", scheme="110 | 000 | 011")
    for stage in network.stages:  # groups of 4, 8 and 16 channels: the first fill no vector of any processor
        stage.attention = SpatialGroupEnhance(stage.blocks[0].conv3.out_channels, groups=16).eval()
        nn.init.normal_(stage.attention.weight)
    x = images(network, size=8)
    folded = fold_batch_norm(learnt(network))
    with torch.inference_mode():
        assert difference(network(x), compile_network(folded, x)(x)) < 1e-5
    assert groups_of(folded)[0] == 16


def test_vectors_of_this_processor() -> None:
    assert cpu_vector_bytes() in (32, 64)
