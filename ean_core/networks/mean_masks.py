"""Mean masks in a supernet: what stands in the place of an attention call that the path does not connect.

In Eq. 4 (https://arxiv.org/abs/2011.14058) a block that is not connected keeps its residual as it is. A supernet's
weights then serve residuals of two scales, and the path without any connection, whose residuals are all at the larger
one, scores far too low. With `unconnected="mean"` the residual is multiplied by the running mean of the mask that the
call applies where it is connected, channel by channel. That is a constant, part of the last norm's weights: pruning
puts it there, and it costs nothing. What the search then weighs is what only attention can do.

`ean_core.deploy.mean_mask` does the same to a trained network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention.masks import channel_masks, nearest_masks
from ean_core.utils.errors import EANError

UNCONNECTED = ("identity", "mean")
"""What a block that is not connected does to its residual: nothing (the paper), or multiply it by its mean mask."""

MOMENTUM = 0.01
"""Least weight of a step in the running mean; the first 1 / MOMENTUM steps count equally."""


def check_unconnected(value: str) -> None:
    """Raise `EANError` unless it is one of `UNCONNECTED`."""
    if value not in UNCONNECTED:
        raise EANError(f"unconnected must be one of {', '.join(UNCONNECTED)}, got {value!r}")


class MeanMasks(nn.Module):
    """The running means of the masks of a stage's attention calls, one call for each block.

    Args:
        depth: number of blocks.
        channels: of their residuals.
    """

    masks: Tensor
    """(depth, C); one until a call has run in training."""

    steps: Tensor
    """(depth,), how many training steps each call has run in."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("masks", torch.ones(depth, channels))
        self.register_buffer("steps", torch.zeros(depth))

    def of(self, index: int, residual: Tensor) -> Tensor:
        """The mean mask (C, 1, 1) of block `index`, of the residual's type."""
        # A copy: later updates must not change what this step's backward pass needs.
        return self.masks[index].clone().to(residual.dtype)[:, None, None]

    def forward(self, index: int, residual: Tensor) -> Tensor:
        """Multiply the residual (B, C, H, W) of block `index` by its mean mask."""
        return residual * self.of(index, residual)

    @property
    def observing(self) -> bool:
        """Whether this is a training step, whose masks count.

        Passes in training mode that do not train, such as batch-norm calibration, have no gradients.
        """
        return self.training and torch.is_grad_enabled()

    @torch.no_grad()
    def observe(
        self,
        index: int,
        residual: Tensor,
        *,
        mask: Tensor | None = None,
        output: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> None:
        """Update the running mean with a call's mask; only in a training step, and not for gates between 0 and 1.

        Args:
            index: of the block.
            residual: (B, C, H, W), what the call was given.
            mask: what it multiplied the residual by.
            output: the recalibrated residual, of a call that has no mask.
            gate: bool (), whether the block is connected; None if it is.
        """
        masks, known = nearest_masks(residual, output) if mask is None else channel_masks(mask, residual)
        count = known.sum(dim=0)
        mean = torch.where(known, masks, 0.0).sum(dim=0) / count.clamp(min=1)
        old, steps = self.masks[index], self.steps[index] + 1
        new = torch.where(count > 0, torch.lerp(old, mean.to(old), (1 / steps).clamp(min=MOMENTUM)), old)
        self.masks[index] = new if gate is None else torch.where(gate, new, old)
        self.steps[index] = steps if gate is None else torch.where(gate, steps, self.steps[index])
