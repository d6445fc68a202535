"""A stage whose channels are in the order that its attention's groups are fastest in; see `attention.interleaved`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention.sge import JoinedGroups
from ean_core.deploy.interleaved_sge import InterleavedGroups, interleaved_order
from ean_core.networks.blocks import Bottleneck
from ean_core.networks.resnet import ResNet
from ean_core.networks.stage import Stage


def interleave_stages(network: nn.Module) -> None:
    """Reorder, in place, the channels of a folded network's stages with SGE whose groups fill no vector of this
    processor.

    What follows a stage of a classifier takes its features as they come. Around a trunk they are put back.
    """
    for number, stage in enumerate(network.stages):
        order = interleave(stage)
        if order is not None and hand_on(network, number, order):
            stage.put_back = 0


def interleave(stage: Stage) -> Tensor | None:
    """Reorder a stage's channels, in place, and let it put back those that it gives: the order inside, or None."""
    blocks = stage.blocks
    forms = [stage.connected(index) for index in range(stage.depth) if stage.bits[index]]
    same_order = len({form.attention.groups for form in forms if type(form) is JoinedGroups}) == 1
    if not (same_order and all(type(form) is JoinedGroups for form in forms)) or not can_reorder(blocks):
        return None
    groups, weight = forms[0].attention.groups, blocks[0].conv3.weight
    width, lanes = len(weight) // groups, vector_bytes() // weight.element_size()
    repeats = -(-lanes // groups)
    if width >= lanes or width % repeats:
        return None
    order = interleaved_order(len(weight), groups)
    reorder(blocks, order)
    for index, form in enumerate(stage.joined):
        if type(form) is JoinedGroups:
            stage.joined[index] = InterleavedGroups(form.attention, form.convolution, repeats).eval()
    stage.put_back = groups
    return order


@torch.no_grad()
def hand_on(network: nn.Module, number: int, order: Tensor) -> bool:
    """Let what follows a stage take its channels in another order, if nothing else looks at them."""
    if type(network) is not ResNet:
        return False
    if number + 1 == len(network.stages):
        readers = [] if network.fc is None else [network.fc]
    else:
        following = network.stages[number + 1].blocks[0]
        readers = [] if following.downsample is None else [following.conv1, following.downsample[0]]
    for layer in readers:
        take_in(layer, order)
    return bool(readers)


def can_reorder(blocks: list[nn.Module]) -> bool:
    """Whether the first block, and no other, has a projection: the only shortcut that comes from outside.

    And whether no norm of another kind looks at the channels' order.
    """
    return all(
        type(block) is Bottleneck and block.folded and (block.downsample is not None) == (index == 0)
        for index, block in enumerate(blocks)
    )


@torch.no_grad()
def reorder(blocks: list[Bottleneck], order: Tensor) -> None:
    """Of all that writes the blocks' outputs the rows of the weights, and of all that reads them the columns."""
    for index, block in enumerate(blocks):
        writing = [block.conv3, *([] if block.downsample is None else [block.downsample[0]])]
        for convolution in writing:
            convolution.weight = nn.Parameter(convolution.weight[order])
            if convolution.bias is not None:
                convolution.bias = nn.Parameter(convolution.bias[order])
        if index:
            take_in(block.conv1, order)


def take_in(layer: nn.Conv2d | nn.Linear, order: Tensor) -> None:
    """Let a layer take its inputs in another order."""
    layer.weight = nn.Parameter(layer.weight[:, order])


def vector_bytes() -> int:
    """How many bytes the widest vector instructions of this processor take."""
    return 64 if "AVX512" in torch.backends.cpu.get_cpu_capability() else 32
