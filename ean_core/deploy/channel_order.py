"""The channels of folded stages in the order that their attention is fastest in; see `interleaved_sge`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.deploy.inference_stage import InferenceStage, is_folded_bottleneck
from ean_core.deploy.interleaved_sge import InterleavedSpatialGroupEnhance, deinterleave, interleaved_order
from ean_core.deploy.sge_tails import FusedSpatialGroupEnhance
from ean_core.networks.blocks import Bottleneck
from ean_core.networks.resnet import ResNet


class ReorderedStage(InferenceStage):
    """An `InferenceStage` whose channels are interleaved inside; its output has the usual order.

    Args:
        stage: as it is inside.
        groups: of the interleaved order.
    """

    def __init__(self, stage: InferenceStage, groups: int) -> None:
        super().__init__(stage, connected=stage.connected, unconnected=stage.unconnected)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H', W'), in the usual order of channels."""
        return deinterleave(super().forward(x), self.groups)


def interleave_stages(network: nn.Module, *, vector_bytes: int | None = None) -> None:
    """Reorder, in place, the channels of a folded network's stages with SGE whose groups fill no vector.

    In a classifier, what follows a stage takes its channels as they come. Elsewhere the stage puts them back in order.

    Args:
        network: folded, or a model around a folded network.
        vector_bytes: of the widest vector instructions; None for this processor's.
    """
    vector_bytes = vector_bytes or cpu_vector_bytes()
    reordered = {}
    for number, stage in enumerate(network.stages):
        groups = interleave(stage, vector_bytes)
        if groups and not reorder_readers(network, number, groups):
            reordered[stage] = ReorderedStage(stage, groups)
    network.replace_stages(lambda stage: reordered.get(stage, stage))


def interleave(stage: InferenceStage, vector_bytes: int) -> int:
    """Interleave a stage's channels, in place, its output's too.

    Returns:
        the number of groups; 0 where nothing was done: it cannot be, or nothing would be gained.
    """
    blocks, tails = stage.blocks, [tail for tail, bit in zip(stage.connected, stage.bits, strict=True) if bit]
    groups_of_tails = {tail.attention.groups if type(tail) is FusedSpatialGroupEnhance else 0 for tail in tails}
    if len(groups_of_tails) != 1 or 0 in groups_of_tails or not can_reorder(blocks):
        return 0
    (groups,), weight = groups_of_tails, blocks[0].conv3.weight
    width, lanes = len(weight) // groups, vector_bytes // weight.element_size()
    repeats = -(-lanes // groups)
    if width >= lanes or width % repeats:
        return 0
    reorder(blocks, interleaved_order(len(weight), groups))
    for index, tail in enumerate(stage.connected):
        if type(tail) is FusedSpatialGroupEnhance:
            interleaved = InterleavedSpatialGroupEnhance(tail.attention, tail.convolution, repeats)
            stage.connected[index] = interleaved.eval()
    return groups


@torch.no_grad()
def reorder_readers(network: nn.Module, number: int, groups: int) -> bool:
    """Let what follows stage `number` take its channels interleaved; False if something else looks at them."""
    if type(network) is not ResNet:
        return False
    if number + 1 == len(network.stages):
        readers = [] if network.fc is None else [network.fc]
    else:
        following = network.stages[number + 1].blocks[0]
        readers = [] if following.downsample is None else [following.conv1, following.downsample[0]]
    for layer in readers:
        reorder_inputs(layer, interleaved_order(network.stage_channels[number], groups))
    return bool(readers)


def can_reorder(blocks: list[nn.Module]) -> bool:
    """Whether the first block, and no other, has a projection: the only shortcut that comes from outside.

    And whether no norm of another kind looks at the channels' order.
    """
    return all(
        is_folded_bottleneck(block) and (block.downsample is not None) == (index == 0)
        for index, block in enumerate(blocks)
    )


@torch.no_grad()
def reorder(blocks: list[Bottleneck], order: Tensor) -> None:
    """Reorder the weights' rows in all that writes the blocks' outputs, and their columns in all that reads them."""
    for index, block in enumerate(blocks):
        writers = [block.conv3, *([] if block.downsample is None else [block.downsample[0]])]
        for convolution in writers:
            convolution.weight = nn.Parameter(convolution.weight[order])
            if convolution.bias is not None:
                convolution.bias = nn.Parameter(convolution.bias[order])
        if index:
            reorder_inputs(block.conv1, order)


def reorder_inputs(layer: nn.Conv2d | nn.Linear, order: Tensor) -> None:
    """Let a layer take its inputs in another order."""
    layer.weight = nn.Parameter(layer.weight[:, order])


def cpu_vector_bytes() -> int:
    """How many bytes the widest vector instructions of this processor take."""
    return 64 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 32
