"""Trained weights and new attention: the network starts as the one that the weights are from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from crowd_counting.model.pretrained import load_initial_weights, make_spec, read_initial_weights
from crowd_counting.recipe import ModelRecipe
from ean_core import create_model
from ean_core.networks import StagedNetwork
from ean_core.networks.network_file import ModelSpec, save_network
from ean_core.networks.neutral_start import start_neutral
from ean_core.networks.pretrained import load_torchvision_weights, load_weights
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.networks.weights_file import read_weights
from ean_core.supernet.bn_calibration import batch_norms
from segmentation.backbone import EANResNet
from tests.helpers.tiny_networks import trained

ATTENTIONS = ("se", "sge", "dia", "timm:eca")


def fitted(arch: str) -> StagedNetwork:
    """A network whose batch norms have the statistics of images, as after training."""
    network = trained(arch)
    for norm in batch_norms(network):
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.randn(16, 3, 32, 32))
    return network.eval()


def for_classifier(path: Path, arch: str, attention: str) -> tuple[StagedNetwork, str]:
    network = create_model(arch, num_classes=7, attention=attention)
    return network, str(load_weights(network, read_weights(path), spec=TrunkSpec(arch, attention)))


def for_counter(path: Path, arch: str, attention: str) -> tuple[StagedNetwork, str]:
    start = read_initial_weights(str(path), arch=arch)
    spec = make_spec(ModelRecipe(arch=arch, attention=attention, stride=16, head_channels=8), start)
    counter = spec.build()
    line = load_initial_weights(counter.trunk, start, spec)
    counter.freeze_batch_norm()
    return counter.trunk, line


def for_segmentor(path: Path, arch: str, attention: str) -> tuple[StagedNetwork, str]:
    backbone = EANResNet(arch, attention, norm_cfg={"type": "BN", "requires_grad": False})
    return backbone.network, str(backbone.load(str(path)))


def distance(network: StagedNetwork, org: StagedNetwork, images: Tensor) -> float:
    """Between the features of the last stage that both have, relative to their size."""
    with torch.inference_mode():
        ours, theirs = network.eval().forward_features(images), org.forward_features(images)
    wanted = theirs[len(ours) - 1]
    return ((ours[-1] - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("load", [for_classifier, for_counter, for_segmentor])
def test_new_attention_leaves_the_features(load: object, attention: str, tmp_path: Path) -> None:
    org = fitted("resnet20")
    save_network(tmp_path / "org.pth", org, ModelSpec("resnet20", num_classes=7))
    torch.manual_seed(3)
    network, line = load(tmp_path / "org.pth", "resnet20", attention)
    assert "new attention starts neutral: the last norms of 9 blocks are divided by its mean masks (0." in line
    images = torch.randn(8, 3, 32, 32)
    started = distance(network, org, images)
    for block in (block for stage in network.stages for block in stage.blocks):
        norm, _ = block.residual_end()
        assert norm.weight.requires_grad == (load is not for_segmentor)
    own, theirs = network.state_dict(), org.state_dict()
    network.load_state_dict({**own, **{name: value for name, value in theirs.items() if name in own}})
    assert started < 1e-3 < 0.1 < distance(network, org, images)


@pytest.mark.parametrize("arch", ["timm:mobilenetv2_035", "timm:regnetx_002", "resnet29"])
def test_every_kind_of_block(arch: str) -> None:
    """Blocks without a shortcut, and with norms inside of layers."""
    pytest.importorskip("timm")
    org = fitted(arch)
    network = create_model(arch, num_classes=7, attention="se")
    report = load_torchvision_weights(network, org.state_dict())
    assert f"of {sum(network.stages_blocks)} blocks" in report.notes[-1]
    assert distance(network, org, torch.randn(8, 3, 32, 32)) < 1e-3


def test_only_new_attention_at_connected_blocks_is_made_up_for(tmp_path: Path) -> None:
    org = fitted("resnet20")
    network = create_model("resnet20", num_classes=7, attention="se", scheme="010 | 000 | 001")
    load_torchvision_weights(network, org.state_dict())
    for stage, theirs in zip(network.stages, org.stages, strict=True):
        for block, other, bit in zip(stage.blocks, theirs.blocks, stage.bits, strict=True):
            assert torch.equal(block.bn2.weight, other.bn2.weight) == (not bit)
            assert torch.equal(block.bn1.weight, other.bn1.weight)
    with_attention = trained("resnet20", "se")
    save_network(tmp_path / "se.pth", with_attention, ModelSpec("resnet20", "se", num_classes=7))
    ge = create_model("resnet20", num_classes=7, attention="timm:ge")  # has no parameters
    save_network(tmp_path / "ge.pth", ge, ModelSpec("resnet20", "timm:ge", num_classes=7))
    for file, attention, theirs in (("se", "se", with_attention), ("ge", "timm:ge", ge)):
        network, line = for_classifier(tmp_path / f"{file}.pth", "resnet20", attention)
        assert "neutral" not in line
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in network.state_dict().items())


def test_the_samples_move_no_statistics_and_no_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of the trunk's own after the norm run in eval mode, whatever mode the network is in."""
    network = create_model("resnet20", num_classes=7, attention="se").train()
    network.layer2.eval()
    own = nn.BatchNorm2d(32).train()
    monkeypatch.setattr(network.layer2.blocks[1], "residual_end", lambda: (network.layer2.blocks[1].bn2, (own,)))
    network.layer2.blocks[1].after = own
    modes = [module.training for module in network.modules()]
    start_neutral(network)
    assert int(own.num_batches_tracked) == 0
    assert [module.training for module in network.modules()] == modes


def test_attention_that_replaces_features_is_left_as_it_is() -> None:
    pytest.importorskip("timm")
    org = fitted("resnet20")
    network = create_model("resnet20", num_classes=7, attention="timm:lambda")
    report = load_torchvision_weights(network, org.state_dict())
    assert report.notes == ("new attention changes 9 blocks: no factor on the norm undoes it",)
    assert torch.equal(network.layer1.blocks[0].bn2.weight, org.layer1.blocks[0].bn2.weight)


def test_a_trunk_with_attention_of_its_own_is_said_to_start_approximately() -> None:
    pytest.importorskip("timm")
    network = create_model("timm:seresnet18", num_classes=7, attention="se", scheme="11 00 00 00")
    report = load_torchvision_weights(network, fitted("timm:seresnet18").state_dict())
    assert "only approximately in 1 of them, which have attention of their own" in report.notes[-1]
    assert "new attention changes 1 block: no factor" in report.notes[-1]


def test_silent_channels_and_random_numbers() -> None:
    """A norm whose scale is zero, as timm starts them, and the generator of the run's random numbers."""
    org = fitted("resnet20")
    with torch.no_grad():
        org.layer1.blocks[0].bn2.weight[:3] = 0
        org.layer1.blocks[0].bn2.bias[:2] = 0
        nn.init.zeros_(org.layer2.blocks[1].bn2.weight)
        nn.init.zeros_(org.layer2.blocks[1].bn2.bias)
    network = create_model("resnet20", num_classes=7, attention="se")
    state = torch.get_rng_state()
    load_torchvision_weights(network, org.state_dict())
    assert torch.equal(torch.get_rng_state(), state)
    network.eval()(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(stage.attention.excite.weight.grad.abs().sum() > 0 for stage in network.stages)  # it trains
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert distance(network, org, torch.randn(2, 3, 32, 32)) < 1e-3
