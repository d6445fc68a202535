"""The supernet with a tensor of gates in place of a scheme's bits: Eq. 4 of Efficient Attention Network.

https://arxiv.org/abs/2011.14058. With boolean gates every path runs the same operations, as a CUDA graph needs
(`ean_core.training.graphed_step`). With gates in [0, 1] the loss has a gradient with respect to them, as DARTS needs
(`ean_core.supernet.relaxed`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ean_core.attention import State
from ean_core.attention.masks import only_multiplies
from ean_core.networks import StagedNetwork
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.networks.stage import Stage
from ean_core.utils.errors import EANError


def gated_logits(network: StagedNetwork, gates: Tensor, images: Tensor) -> Tensor:
    """The network's forward pass with `gates` (m,) in place of its scheme.

    Args:
        network: with attention at every block; its bits do not matter.
        gates: bool, or floating point in [0, 1], on the network's device. Where all are 0 or 1 the logits are those of
            the scheme with these bits.
        images: (B, in_channels, H, W).

    Returns:
        logits (B, num_classes).

    Raises:
        EANError: for a wrong number of gates, or a network without attention at some block.
    """
    return network.forward_head(gated_features(network, gates, images)[-1])


def gated_features(network: StagedNetwork | BackboneWrapper, gates: Tensor, images: Tensor) -> list[Tensor]:
    """The outputs of all stages with `gates` (m,) in place of the scheme.

    Arguments and errors as for `gated_logits`; the network may be one around the trunk too.
    """
    blocks = network.stages_blocks
    if gates.shape != (sum(blocks),):
        raise EANError(f"the network has {sum(blocks)} connections, got gates of {tuple(gates.shape)}")
    x, features = network.forward_stem(images), []
    for stage, stage_gates in zip(network.stages, gates.split(blocks), strict=True):
        x = gated_forward(stage, stage_gates, x)
        features.append(x)
    return features


def gated_forward(stage: Stage, gates: Tensor, x: Tensor) -> Tensor:
    """x_{l+1} = ReLU(shortcut + (g_l M(f) + (1 - g_l)) * f) for every block l and its residual f (Eq. 4).

    (B, C_in, H, W) -> (B, C_out, H / stride, W / stride), with gates g (depth,). Where the stage has mean masks, they
    stand in the place of the 1 in (1 - g_l) * 1. Every attention runs, and its gate weights the result, including the
    state of a recurrent attention; an empty state counts as zero. A batch norm of the attention's own sees the blocks
    of closed gates too, unlike on the path.
    """
    stage.check_bits((1,) * stage.depth)
    state: State = None
    for gate, block, index in zip(gates, stage.blocks, range(stage.depth), strict=True):
        residual, shortcut = block(x)
        attention, state = stage.attention_of(index), state if stage.is_shared else None
        closed: Tensor | float = 1.0
        observe: Callable[..., None] | None = None
        if (means := stage.mean_masks) is not None:
            closed = means.of(index, residual)
            if means.observing and gate.dtype == torch.bool:
                observe = partial(means.observe, index, residual, gate=gate)
        residual, state = gated_attention(attention, gate, residual, state, closed=closed, observe=observe)
        x = stage.activation(residual if shortcut is None else residual + shortcut)
    return x


def gated_attention(
    attention: nn.Module,
    gate: Tensor,
    residual: Tensor,
    state: State,
    *,
    closed: Tensor | float = 1.0,
    observe: Callable[..., None] | None = None,
) -> tuple[Tensor, State]:
    """(g M(f) + (1 - g) c) * f for a gate g (), the residual f (B, C, H, W) and the mask c of a closed gate, and the
    state after it; `observe` is given the call's `mask` or, if it has none, its `output`."""
    if only_multiplies(attention):
        mask, new_state = attention.mask(residual, state)  # usually (B, C, 1, 1), so cheaper to gate than the features
        call = {"mask": mask}
        recalibrated = residual * blend(gate, mask, closed)
    else:  # attention that does more than multiply by a mask
        output, new_state = attention(residual, state)
        call = {"output": output}
        recalibrated = blend(gate, output, residual * closed)
    if observe is not None:
        observe(**call)
    if new_state is None:
        return recalibrated, None
    old_state = state or tuple(torch.zeros_like(new) for new in new_state)
    hidden, cell = (blend(gate, new, old) for new, old in zip(new_state, old_state, strict=True))
    return recalibrated, (hidden, cell)


def blend(gate: Tensor, on: Tensor, off: Tensor | float) -> Tensor:
    """gate * on + (1 - gate) * off, for a scalar gate.

    A boolean gate selects with `torch.where`, so that an infinite `on` behind a closed gate gives no NaN forward.
    """
    return torch.where(gate, on, off) if gate.dtype == torch.bool else gate * on + (1 - gate) * off
