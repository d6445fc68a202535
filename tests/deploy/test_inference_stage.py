"""A stage of a folded network: the same blocks, path and function as the stage that it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS, Attention
from ean_core.deploy.fold import fold_batch_norm
from ean_core.deploy.inference_stage import InferenceStage
from ean_core.networks.stage import Stage
from tests.helpers.tiny_networks import check_schemes, difference, images, trained


@pytest.mark.parametrize("attention", [None, *ATTENTIONS, "timm:eca"])
@pytest.mark.parametrize("sharing", ["stage", "block"])
@pytest.mark.parametrize("arch", ["resnet20", "resnet29"])
def test_its_outputs_are_the_stages(arch: str, sharing: str, attention: str | None) -> None:
    """In both layouts, with and without gradients; the input is not overwritten."""
    if attention is None and sharing == "block":
        pytest.skip("nothing to share")
    network = trained(arch, attention, sharing=sharing, scheme=attention and "101 | 011 | 100")
    for number, stage in enumerate(network.stages):
        inference_stage = InferenceStage.from_stage(stage)
        channels = (16, *network.stage_channels)[number]
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(2, channels, 6, 6).contiguous(memory_format=layout)
            kept = x.clone()
            with torch.inference_mode():
                assert difference(stage(x), inference_stage(x)) < 1e-5
            assert torch.equal(x, kept)
            assert difference(stage(x), inference_stage(x)) < 1e-5  # with gradients nothing may be overwritten
        inference_stage(x).sum().backward()


@pytest.mark.parametrize("sharing", ["stage", "block"])
@pytest.mark.parametrize("attention", ["se", "dia"])
def test_a_folded_supernet_takes_any_scheme(attention: str, sharing: str) -> None:
    network = trained("resnet29", attention, sharing=sharing, scheme="100 | 000 | 111")
    folded = fold_batch_norm(network, prune=False)
    assert folded.scheme == network.scheme
    check_schemes(network, folded, "101 | 011 | 100", "000 | 000 | 000", "111 | 010 | 111", near=1e-4)


@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_it_is_pruned_as_a_stage_is(sharing: str) -> None:
    network = trained("resnet29", "se", sharing=sharing)
    folded = fold_batch_norm(network, prune=False)
    x = images(network, size=8)
    for net in (network, folded):
        net.set_scheme("010 | 000 | 011")
    pruned = folded.prune()
    with torch.inference_mode():
        assert difference(network(x), pruned(x)) < 1e-4
    with pytest.raises(EANError, match="no attention there"):
        pruned.set_scheme("010 | 100 | 011")
    left = {name.split(".")[0] for name, _ in pruned.named_parameters() if "connected" in name and "un" not in name}
    assert left == {"layer1", "layer3"}
    assert all(type(stage) is InferenceStage for stage in folded.stages)
    assert all(type(stage) is Stage for stage in network.stages)


def test_blocks_and_attention_are_shared_and_their_names_stay() -> None:
    network = trained("resnet29", "dia")
    stage = network.layer1
    inference_stage = InferenceStage.from_stage(stage)
    assert inference_stage.blocks == stage.blocks
    assert inference_stage.attention is stage.attention
    assert set(dict(stage.named_parameters())) <= set(dict(inference_stage.named_parameters()))
    assert not any(module.training for module in inference_stage.modules())


class PlusOne(Attention):
    """An attention that adds 1 to the residual, which no mask can do."""

    def forward(self, residual: Tensor, state: object = None) -> tuple[Tensor, object]:
        return residual + 1, state


class Branch(nn.Module):
    """A block with or without a shortcut."""

    def __init__(self, *, shortcut: bool) -> None:
        super().__init__()
        self.conv, self.shortcut = nn.Conv2d(16, 16, 1), shortcut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.conv(x), x if self.shortcut else None


@pytest.mark.parametrize("activation", [torch.relu_, nn.Identity(), nn.SiLU()])
@pytest.mark.parametrize("attention", [PlusOne, *ATTENTIONS.values()])
def test_other_families_of_blocks(attention: type[Attention], activation: nn.Module) -> None:
    """Another ending of the blocks, and blocks without a shortcut."""
    module = (
        attention() if attention is PlusOne else attention(16, **({"groups": 4} if "Group" in str(attention) else {}))
    )
    stage = Stage([Branch(shortcut=index != 1) for index in range(4)], module, activation=activation).eval()
    x = torch.randn(2, 16, 5, 5)
    for bits in ((1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 0, 0)):
        stage.bits = bits
        with torch.inference_mode():
            assert difference(stage(x), InferenceStage.from_stage(stage)(x)) < 1e-5


def test_a_network_before_folding_is_not_fused() -> None:
    network = create_model("resnet29", attention="se").eval()
    assert not any(tail.takes_hidden for tail in InferenceStage.from_stage(network.layer1).connected)
