"""Mean masks in a supernet: as a slow loop keeps and applies them, folded, pruned, gated and saved."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ean_core import EANError, Scheme, create_model
from ean_core.attention import Attention, State
from ean_core.deploy.fold import fold_batch_norm
from ean_core.deploy.mean_mask import constant_masks, fold_masks, mean_masks
from ean_core.networks import StagedNetwork
from ean_core.networks.mean_masks import MOMENTUM
from ean_core.networks.network_file import ModelSpec, load_network, save_network
from ean_core.networks.pretrained import load_torchvision_weights
from ean_core.networks.save import spec_of_network
from ean_core.supernet.bn_calibration import preserve_batch_norm
from ean_core.supernet.gates import gated_logits
from tests.helpers.tiny_networks import check_schemes, difference, images, trained

ATTENTIONS = ("se", "sge", "dia", "timm:eca")  # the last one gives features and no mask
PATHS = ("111111111", "000000000", "101001110", "010110001")


def supernet(arch: str = "resnet20", attention: str = "se") -> StagedNetwork:
    """A supernet whose attention does something, with mean masks that are not one."""
    network = trained(arch, attention)
    network.keep_mean_masks()
    generator = torch.Generator().manual_seed(3)
    for stage in network.stages:
        stage.mean_masks.masks.uniform_(0.2, 0.9, generator=generator)
    return network.eval()


def slow_forward(network: StagedNetwork, x: Tensor, means: list[Tensor]) -> Tensor:
    """Logits with Eq. 4 written out, the mean masks in the place of calls that are not connected."""
    x = network.forward_stem(x)
    for stage, masks in zip(network.stages, means, strict=True):
        state = None
        for index, bit in enumerate(stage.bits):
            residual, shortcut = stage.blocks[index](x)
            if bit:
                residual, state = stage.attention(residual, state)
            else:
                residual = residual * masks[index].view(1, -1, 1, 1)
            x = residual if shortcut is None else residual + shortcut
            x = stage.activation(x)
    return network.forward_head(x)


@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_paths_are_eq_4_with_mean_masks(attention: str) -> None:
    network = supernet(attention=attention)
    x, means = images(network, size=8), [stage.mean_masks.masks for stage in network.stages]
    outputs = []
    for path in PATHS:
        network.set_scheme(path)
        outputs.append(network(x))
        torch.testing.assert_close(outputs[-1], slow_forward(network, x, means))
        pruned = network.prune()
        assert all(stage.mean_masks is None for stage in pruned.stages)
        assert difference(outputs[-1], pruned(x)) < 1e-5
        gates = torch.tensor([int(bit) for bit in path])
        for dtype in (torch.bool, torch.float32):
            torch.testing.assert_close(gated_logits(network, gates.to(dtype), x), outputs[-1])
    assert difference(outputs[1], outputs[0]) > 1e-2


@pytest.mark.parametrize("arch", ["resnet20", "resnet29", "timm:mobilenetv2_035"])
def test_the_folded_supernet_runs_every_path(arch: str) -> None:
    network = supernet(arch)
    paths = [Scheme.random(network.stages_blocks, np.random.default_rng(seed)).text for seed in range(2)]
    check_schemes(network, fold_batch_norm(network, prune=False), *paths, "0" * len(paths[0]), near=1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("gated", [False, True])
def test_training_keeps_the_mean_of_every_calls_masks(attention: str, gated: bool) -> None:
    torch.manual_seed(0)
    network = create_model("resnet20", num_classes=3, attention=attention, unconnected="mean").train()
    seen: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
    rng = np.random.default_rng(0)
    for step in range(4):
        path = Scheme.random(network.stages_blocks, rng)
        network.set_scheme(path)
        x = torch.randn(4, 3, 8, 8)
        with torch.no_grad(), preserve_batch_norm(network):  # the masks of this step, call by call
            inner = network.forward_stem(x)
            for number, stage in enumerate(network.stages):
                state = None
                for index, bit in enumerate(stage.bits):
                    residual, shortcut = stage.blocks[index](inner)
                    if bit:
                        recalibrated, state = stage.attention(residual, state)
                        product = (recalibrated * residual).sum((2, 3)) / residual.square().sum((2, 3))
                        mask = product if attention == "timm:eca" else (recalibrated / residual).mean((2, 3))
                        seen[number, index].append(mask.mean(dim=0))
                        residual = recalibrated
                    else:
                        residual = residual * stage.mean_masks.masks[index].view(1, -1, 1, 1)
                    inner = torch.relu(residual + shortcut)
        logits = gated_logits(network, torch.tensor(path.bits, dtype=torch.bool), x) if gated else network(x)
        logits.square().sum().backward()
        assert all(stage.mean_masks.steps.max() <= step + 1 for stage in network.stages)
    for number, stage in enumerate(network.stages):
        for index in range(stage.depth):
            masks = seen[number, index]
            wanted = torch.stack(masks).mean(dim=0) if masks else torch.ones(network.stage_channels[number])
            torch.testing.assert_close(stage.mean_masks.masks[index], wanted, rtol=2e-3, atol=2e-4)
            assert stage.mean_masks.steps[index] == len(masks)


class Normed(Attention):
    """A gate whose mask comes from a batch norm of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        return torch.sigmoid(self.norm(residual)).mean(dim=(2, 3), keepdim=True), state


class NormedOutput(Normed):
    """The same, giving recalibrated features only."""

    def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
        return residual * self.mask(residual, state)[0], state


@pytest.mark.parametrize("kind", [Normed, NormedOutput])
@pytest.mark.parametrize("gated", [False, True])
def test_a_call_runs_once_in_a_training_step(kind: type[Normed], gated: bool) -> None:
    network = create_model("resnet20", num_classes=3, attention="se", unconnected="mean").train()
    for stage, channels in zip(network.stages, network.stage_channels, strict=True):
        stage.attention = kind(channels)
    x = torch.randn(4, 3, 8, 8)
    logits = gated_logits(network, torch.ones(9, dtype=torch.bool), x) if gated else network(x)
    logits.sum().backward()
    assert [int(stage.attention.norm.num_batches_tracked) for stage in network.stages] == [3, 3, 3]
    assert all((stage.mean_masks.steps == 1).all() for stage in network.stages)


@pytest.mark.parametrize("attention", ["se", "timm:eca"])
@pytest.mark.parametrize("gated", [False, True])
def test_attention_learns_under_autocast(attention: str, gated: bool) -> None:
    """Older versions of PyTorch cache the weights cast without gradients, so a run without them must not come first."""
    network = create_model("resnet20", num_classes=3, attention=attention, unconnected="mean").train()
    x = torch.randn(4, 3, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = gated_logits(network, torch.ones(9, dtype=torch.bool), x) if gated else network(x)
    logits.float().square().sum().backward()
    for stage in network.stages:
        gradients = [parameter.grad for parameter in stage.attention.parameters()]
        assert float(sum(gradient.abs().sum() for gradient in gradients)) > 0  # none is None


def test_late_steps_weigh_as_much_as_the_momentum() -> None:
    network = create_model("resnet20", num_classes=3, attention="se", unconnected="mean").train()
    means = network.layer1.mean_masks
    means.steps.fill_(1000)
    network(torch.randn(2, 3, 8, 8)).sum().backward()
    moved = 1 - means.masks
    assert 0.2 * MOMENTUM < float(moved.min()) <= float(moved.max()) < 0.8 * MOMENTUM  # SE's masks lie near 0.5


def test_only_training_steps_move_the_means() -> None:
    network = supernet()
    before = [stage.mean_masks.masks.clone() for stage in network.stages]
    x = images(network, size=8)
    network(x).sum().backward()  # in eval mode
    network.train()
    with torch.no_grad():  # batch-norm calibration
        network(x)
    gated_logits(network, torch.full((9,), 0.5, requires_grad=True), x).sum().backward()  # DARTS
    with preserve_batch_norm(network):  # the capture of a CUDA graph
        network(x).sum().backward()
    assert all(torch.equal(mask, stage.mean_masks.masks) for mask, stage in zip(before, network.stages, strict=True))
    network(x).sum().backward()
    assert not any(
        torch.equal(mask, stage.mean_masks.masks) for mask, stage in zip(before, network.stages, strict=True)
    )


@pytest.mark.parametrize("arch", ["resnet20", "timm:mobilenetv2_035"])
def test_every_path_of_a_supernet_with_mean_masks_starts_neutral(arch: str) -> None:
    """Without them a path that leaves blocks out is far from the trunk in eval mode."""
    org, distances = trained(arch), defaultdict(list)
    with torch.no_grad():
        for block in (block for stage in org.stages for block in stage.blocks):
            block.residual_end()[0].bias.zero_()
        x = images(org, size=32)
        for norm in (module for module in org.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.reset_running_stats()
            norm.momentum = None
        org.train()(torch.randn(16, 3, 32, 32))
        wanted = org.eval()(x)
        for unconnected in ("mean", "identity"):
            network = create_model(arch, num_classes=7, attention="se", unconnected=unconnected)
            load_torchvision_weights(network, org.state_dict())
            for seed in range(3):
                network.set_scheme(Scheme.random(network.stages_blocks, np.random.default_rng(seed)))
                distances[unconnected].append(difference(wanted, network.eval()(x)))
    assert max(distances["mean"]) < 2e-3 < 0.1 < min(distances["identity"])


def test_what_lies_between_norm_and_addition_keeps_the_mean_mask() -> None:
    """An attention of the trunk's own sees what the norm gives, so that the mask cannot go there."""
    pytest.importorskip("timm")
    network = create_model("timm:seresnet18", num_classes=7, attention="se", unconnected="mean").eval()
    for stage in network.stages:
        stage.mean_masks.masks.uniform_(0.2, 0.9)
        for block in stage.blocks:
            nn.init.uniform_(block.residual_end()[0].weight, 0.5, 1.0)
    network.set_scheme("10 01 00 11")
    x = images(network, size=32)
    with torch.no_grad():
        pruned = network.prune()
        assert difference(network(x), pruned(x)) < 1e-5
        assert [stage.mean_masks is None for stage in pruned.stages] == [False, False, False, True]


@torch.no_grad()
def test_a_supernet_with_mean_masks_is_trimmed_as_any_network() -> None:
    """A call that is folded away takes its mean mask along."""
    network = supernet()
    network.set_scheme("110000011")
    x = images(network, size=8)
    masks = {name: mask for name, mask in mean_masks(network, [x]).items() if name != "layer1.0"}
    with constant_masks(network, masks):
        wanted = network(x)
    folded = fold_masks(network, masks, probe=x)
    assert folded.scheme.text == "100000000"
    torch.testing.assert_close(folded(x), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(folded.prune()(x), wanted, rtol=1e-4, atol=1e-4)


def test_a_file_keeps_them(tmp_path: Path) -> None:
    network = create_model("resnet20", num_classes=3, attention="se", unconnected="mean")
    network.layer2.mean_masks.masks.fill_(0.25)
    spec = spec_of_network(network)
    assert spec == ModelSpec("resnet20", "se", num_classes=3, scheme="1" * 9, unconnected="mean")
    save_network(tmp_path / "supernet.pth", network, spec)
    loaded, _ = load_network(tmp_path / "supernet.pth")
    assert torch.equal(loaded.layer2.mean_masks.masks, network.layer2.mean_masks.masks)
    network.set_scheme("100100100")
    assert spec_of_network(network.prune()).pruned


@pytest.mark.parametrize("value", ["median", "Mean", ""])
def test_another_word_is_refused(value: Any) -> None:
    with pytest.raises(EANError, match=f"unconnected must be one of identity, mean, got {value!r}"):
        create_model("resnet20", attention="se", unconnected=value)
