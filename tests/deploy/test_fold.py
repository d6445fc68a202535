"""Batch norm folded away: the same function, and nothing else lost."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS
from ean_core.deploy.fold import fold_batch_norm, replace_submodule
from ean_core.networks import ARCHITECTURES
from tests.helpers.tiny_networks import difference, images, trained

# basic and bottleneck blocks, CIFAR and ImageNet stems, convolutions with and without bias
OWN_FAMILIES = ("resnet20", "resnet29", "resnet18", "resnet18_nobias", "resnet50", "resnet50_nobias")
FAMILIES = (*OWN_FAMILIES, "timm:mobilenetv2_035", "timm:tf_efficientnet_lite0")


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("arch", FAMILIES)
def test_folding_keeps_the_function(arch: str, attention: str | None) -> None:
    network = trained(arch, attention)
    x = images(network, size=8 if network.stem_kind == "cifar" else 32)
    with torch.inference_mode():
        expected, got = network(x), fold_batch_norm(network)(x)
    assert expected.std() > 0
    assert difference(expected, got) < 1e-4


def test_the_families_are_all_there_are() -> None:
    def family(arch: str) -> tuple:
        layout = ARCHITECTURES[arch]
        return layout["block"], layout["stem"], layout.get("conv_bias", False)

    assert {family(arch) for arch in ARCHITECTURES} == {family(arch) for arch in OWN_FAMILIES}


@pytest.mark.parametrize("arch", FAMILIES)
def test_no_batch_norm_is_left_and_every_convolution_has_a_bias(arch: str) -> None:
    network = trained(arch)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(module.bias is not None for module in folded.modules() if isinstance(module, nn.Conv2d))
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_folding_keeps_scheme_and_connected_attention_and_prunes_the_rest(sharing: str) -> None:
    network = trained("resnet20", "se", sharing=sharing, scheme="010 | 000 | 011")
    folded = fold_batch_norm(network)
    assert folded.scheme == network.scheme
    assert folded.stages[1].attention is None
    kept = [name for name in folded.state_dict() if re.match(r"layer\d\.attention\.", name)]
    assert sum(name.endswith("squeeze.weight") for name in kept) == (2 if sharing == "stage" else 3)
    assert all(torch.equal(folded.state_dict()[name], network.state_dict()[name]) for name in kept)
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), folded(x)) < 1e-4


def test_what_is_folded_is_in_eval_mode_and_can_be_folded_again() -> None:
    network = trained("resnet29", "dia", scheme="110 | 000 | 011")
    folded = fold_batch_norm(network)
    assert not any(module.training for module in folded.modules())
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), fold_batch_norm(folded)(x)) < 1e-4


@pytest.mark.parametrize("name", ["bn3", "downsample.1"])
def test_a_norm_of_another_kind_stays_where_attention_is_fused(name: str) -> None:
    network = trained("resnet29", "se", scheme="111 | 011 | 100")
    replace_submodule(network.layer1, f"0.{name}", nn.GroupNorm(4, 64).eval())
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), fold_batch_norm(network)(x)) < 1e-4


def test_folding_refuses_training_mode_anywhere() -> None:
    with pytest.raises(EANError, match="eval"):
        fold_batch_norm(create_model("resnet20"))
    network = trained("resnet20")
    network.bn1.train()
    with pytest.raises(EANError, match="eval"):
        fold_batch_norm(network)
