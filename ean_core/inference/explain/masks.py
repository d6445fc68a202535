"""The attention masks of a network, block by block, for given images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.attention.masks import gives_mask, nearest_scale
from ean_core.inference.explain.module_outputs import watch
from ean_core.networks import StagedNetwork


@dataclass(frozen=True, eq=False)
class BlockMask:
    """What the attention multiplied one block's residual by (Eq. 2 to 4).

    Attributes:
        stage, block: where, both from 0.
        values: float32, (B, C, 1, 1) of a channel mask, (B, C, H, W) or (B, 1, H, W) of a spatial one, on the CPU.
        fitted: whether the attention has no mask of its own, as timm's, and this is the factor that comes nearest.
    """

    stage: int
    block: int
    values: Tensor
    fitted: bool = False

    @property
    def spatial(self) -> bool:
        """Whether it differs between positions, or could."""
        return self.values.shape[2:] != (1, 1)

    def of_channels(self, image: int) -> Tensor:
        """(C,): the channel mask of an image; of a spatial one the mean over the positions."""
        return self.values[image].mean(dim=(1, 2))

    def of_positions(self, image: int) -> Tensor:
        """(H, W): the spatial mask of an image, the mean over its channels."""
        return self.values[image].mean(dim=0)


@torch.no_grad()
def attention_masks(network: nn.Module, trunk: StagedNetwork, images: Tensor) -> list[BlockMask]:
    """Run a network and collect the masks of all connected blocks, from the first to the last.

    Args:
        network: in eval mode.
        trunk: the residual network in it, or itself.
        images: the network's input (B, C, H, W).
    """
    masks: list[BlockMask] = []
    # A stage calls a shared module once per connected block, in their order: each call takes the next place.
    positions: dict[nn.Module, list[tuple[int, int]]] = {}
    for stage, block, module in connections(trunk):
        positions.setdefault(module, []).append((stage, block))

    def record(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        fitted = not gives_mask(module)
        mask = fit_mask(inputs[0], output[0]) if fitted else module.mask(*inputs)[0]
        masks.append(BlockMask(*positions[module].pop(0), mask.float().cpu(), fitted))

    with watch(positions, record):
        network(images)
    return masks


def fit_mask(residual: Tensor, out: Tensor) -> Tensor:
    """The factor that comes nearest to `out` = factor * `residual`, both (B, C, H, W), in the sense of least squares.

    Returns:
        (B, C, 1, 1), one factor per channel, where that is all the module did; else (B, 1, H, W), one per position.
    """
    residual, out = residual.double(), out.double()
    of_channels, _ = nearest_scale(residual, out, dim=(2, 3))
    if torch.allclose(of_channels * residual, out, rtol=1e-3, atol=1e-5):
        return of_channels
    return nearest_scale(residual, out, dim=(1,))[0]


def connections(trunk: StagedNetwork) -> Iterator[tuple[int, int, nn.Module]]:
    """(stage, block, attention module) of all connected blocks."""
    for number, stage in enumerate(trunk.stages):
        for index, bit in enumerate(stage.bits):
            module = stage.attention_of(index) if bit else None
            if module is not None:
                yield number, index, module
