"""A neutral start: attention that is new to trained weights leaves the network's function as it was.

Untrained masks lie far below one, near 0.5 for SE, 0.73 for SGE and 0.25 for DIA, so that they shrink every residual:
a trained network with new attention at all blocks is little better than chance. Here each connected block's last norm
is multiplied, channel by channel, by the inverse of the mask that the attention starts with. The weights of the layer
that gives the mask start at zero, so that it is the same for all images; they train from the first step, and the layers
before them from the second.

Where the trunk has an attention of its own after the last norm (timm:seresnet50), the factor passes through it too: its
mask depends on what it is given, so that the start only approximates the trunk. The line that is printed says so.

A supernet starts neutral with the scheme that it has when the weights are loaded, all blocks as a rule. On its other
paths the blocks that are not connected keep their larger norm, and in eval mode such a path is far from the trunk. The
next norms take the scale up where they use the batch's statistics, as in the supernet's training and after batch-norm
calibration; so scores of paths that were not trained need calibration (`search.bn_images`). A supernet with mean masks
(`unconnected="mean"`) is neutral on every path: the masks of blocks that are not connected start at the mask that the
norm was divided by.

No images are needed: a batch norm's shift and scale are mean and standard deviation of its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ean_core.attention import Attention, DenseImplicitAttention, State
from ean_core.networks.base import StagedNetwork
from ean_core.networks.scale_layers import scale_output
from ean_core.utils.text import how_many

SAMPLES = 8
SIDE = 8
STEPS = 24  # a mask depends on what it is computed from, which is rescaled: the scales are iterated
ALIKE = 0.3
"""Least correlation between a residual and what attention makes of it; below, no factor makes up for it."""
LARGEST = 100.0
"""Largest factor on a channel."""


@dataclass(frozen=True)
class NeutralStart:
    """What was done to a network.

    Attributes:
        masks: mean mask at the start of each block whose norm took it up.
        left: how many connected blocks start as they are, because no factor makes up for their attention: it replaces
            the features, or a trunk's own attention comes between.
        approximate: how many of the blocks in `masks` have an attention of the trunk's own between norm and mask.
    """

    masks: tuple[float, ...]
    left: int = 0
    approximate: int = 0

    def __str__(self) -> str:
        parts = []
        if self.masks:
            low, high = (f"{bound:.2f}" for bound in (min(self.masks), max(self.masks)))
            span = low if low == high else f"{low} to {high}"
            parts.append(
                f"new attention starts neutral: the last norms of {len(self.masks)} blocks are divided by its mean "
                f"masks ({span})"
            )
        if self.approximate:
            parts.append(f"only approximately in {self.approximate} of them, which have attention of their own")
        if self.left:
            parts.append(f"new attention changes {how_many(self.left, 'block')}: no factor on the norm undoes it")
        return "; ".join(parts)


@torch.no_grad()
def start_neutral(network: StagedNetwork) -> NeutralStart:
    """Let a network with trained weights and untrained attention compute what it would without the attention.

    Args:
        network: changed in place, in the norms of the blocks that its scheme connects.
    """
    masks: list[float] = []
    left = approximate = 0
    settled: set[nn.Module] = set()
    modes = {module: module.training for module in network.modules()}
    network.eval()  # the samples that are run here must move no running statistics
    for stage in network.stages:
        state: State = None
        for block, index, bit in zip(stage.blocks, range(stage.depth), stage.bits, strict=True):
            if not bit:
                continue
            attention = stage.attention_of(index)
            norm, after = block.residual_end()
            state = state if stage.is_shared else None
            if attention not in settled:  # once: blocks that follow must find what the first one was scaled for
                settle(norm, after, attention)
                settled.add(attention)
            scale, state = neutral_scale(norm, after, attention, state)
            if scale is None:
                left += 1
                continue
            masks.append((1 / scale).mean().item())
            approximate += any(True for layer in after for _ in layer.parameters())
            scale_output(norm, scale)
            if stage.mean_masks is not None:
                stage.mean_masks.masks[index] = 1 / scale
    for module, training in modes.items():
        module.training = training
    return NeutralStart(tuple(masks), left, approximate)


def settle(norm: nn.Module, after: Sequence[nn.Module], attention: Attention) -> None:
    """Let an attention's mask start the same for all images; one that does not weight features then stays as it is."""
    layers = mask_layers(attention)
    before = [layer.weight.clone() for layer in layers]
    for layer in layers:
        layer.weight.zero_()
    if neutral_scale(norm, after, attention, None)[0] is None:
        for layer, weight in zip(layers, before, strict=True):
            layer.weight.copy_(weight)


def mask_layers(attention: Attention) -> list[nn.Module]:
    """The layers whose outputs an attention's mask is a fixed function of."""
    if isinstance(attention, DenseImplicitAttention):
        return [attention.from_input[2], attention.from_hidden[2]]
    layers = [layer for layer in attention.modules() if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)]
    return layers[-1:]


def neutral_scale(
    norm: nn.Module, after: Sequence[nn.Module], attention: Attention, state: State
) -> tuple[Tensor | None, State]:
    """The factors (C,) on a norm's outputs that make up for the attention after it.

    Args:
        norm: the last one of a residual branch, with weight and bias (C,).
        after: the branch's layers after it, such as an attention of its own; in eval mode.
        attention: untrained; in eval mode.
        state: the attention's, as the block before leaves it.

    Returns:
        the factors, None if the attention does not weight the features; and the attention's state after the block.
    """
    outputs = sample_outputs(norm, multiple_of=getattr(attention, "multiple_of", 1))
    wanted = run(after, outputs)
    scale = torch.ones_like(norm.weight)
    for _ in range(STEPS):
        got, _ = attention(run(after, outputs * scale[:, None, None]), state)
        scale = scale * correction(wanted, got).clamp(1 / LARGEST, LARGEST).sqrt()  # halfway, so as not to swing
    valid = bool(((scale > 0) & (scale < LARGEST)).all()) and correlation(wanted, got) > ALIKE
    scale = scale if valid else torch.ones_like(scale)
    _, state = attention(run(after, outputs * scale[:, None, None]), state)
    return (scale if valid else None), state


def sample_outputs(norm: nn.Module, *, multiple_of: int) -> Tensor:
    """What a norm's outputs (B, C, H, W) are like: normal, with its shift as mean and its scale as deviation."""
    side = -(-SIDE // multiple_of) * multiple_of
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SAMPLES, len(norm.weight), side, side, generator=generator).to(norm.weight)
    outputs = noise * norm.weight[:, None, None]
    return outputs if norm.bias is None else outputs + norm.bias[:, None, None]


def run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """The layers one after the other."""
    for layer in layers:
        x = layer(x)
    return x


def correction(wanted: Tensor, got: Tensor) -> Tensor:
    """The factors (C,) by which `got` comes nearest to `wanted`, both (B, C, H, W); the mean for silent channels."""
    power, product = (wanted.square().sum(dim=(0, 2, 3)), (wanted * got).sum(dim=(0, 2, 3)))
    heard = power > 1e-12 * power.max().clamp(min=1e-30)
    factors = torch.where(heard, power / product, torch.nan)
    return torch.where(heard, factors, factors.nanmean())


def correlation(wanted: Tensor, got: Tensor) -> float:
    """Cosine of the angle between two batches of features."""
    return nn.functional.cosine_similarity(wanted.flatten(), got.flatten(), dim=0).item()
