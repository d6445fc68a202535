"""Spatial Group-wise Enhance in networks that are done training: the fastest way for each memory layout.

The mask is the module's own, `SpatialGroupEnhance.mask_of`; here are the two passes around it over the features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ean_core.attention import SpatialGroupEnhance, State
from ean_core.attention.base import channel_means
from ean_core.attention.sge import at_least_float32
from ean_core.deploy.block_tails import AttentionTail
from ean_core.deploy.functional import add_scaled
from ean_core.deploy.fused_attention import FusedAttention


class SpatialGroupTail(AttentionTail):
    """SGE on a block's residual."""

    attention: SpatialGroupEnhance

    def forward(self, features: Tensor, shortcut: Tensor | None, state: State = None) -> tuple[Tensor, State]:
        """See `BlockTail`; SGE has no state."""
        if shortcut is None:
            return super().forward(features, shortcut, state)
        mask = group_mask(self.attention, self.agreement(features), features)
        return self.activation(add_scaled_groups(shortcut, features, mask)), state

    def agreement(self, residual: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, groups, H*W); see `SpatialGroupEnhance.agreement`."""
        if residual.is_contiguous():
            return self.attention.agreement(residual)
        # channels_last: sums over so few neighbors are faster as a product with rows that are zero elsewhere.
        with torch.autocast(residual.device.type, enabled=False):
            features, groups = at_least_float32(residual), self.attention.groups
            means = channel_means(features).unflatten(1, (groups, -1))  # (B, groups, C / groups)
            own_group = torch.eye(groups, dtype=means.dtype, device=means.device)[:, :, None]
            return torch.bmm((means[:, None] * own_group).flatten(2), features.flatten(2))  # (B, groups, C), (B, C, HW)


class FusedSpatialGroupEnhance(FusedAttention):
    """SGE fused with the convolution w before it.

    A group's agreement, mean . (w x + b), is (mean . w) x plus a constant that the normalization takes out: one matrix
    product over the features x that the convolution takes.
    """

    def __init__(self, attention: SpatialGroupEnhance, convolution: nn.Conv2d) -> None:
        super().__init__(attention, convolution)
        self.attention = attention

    def forward(self, features: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """See `BlockTail`; SGE has no state."""
        residual = self.convolution(features)
        mask = group_mask(self.attention, self.agreement(features), residual)
        return torch.relu_(add_scaled_groups(shortcut, residual, mask)), state

    def agreement(self, hidden: Tensor) -> Tensor:
        """(B, C', H, W) -> (B, groups, H*W), up to a constant."""
        groups = self.attention.groups
        with torch.autocast(hidden.device.type, enabled=False):
            rows = agreement_rows(hidden, self.convolution, lambda channels: channels.unflatten(0, (groups, -1)))
            return torch.bmm(rows, at_least_float32(hidden).flatten(2))


def agreement_rows(hidden: Tensor, convolution: nn.Conv2d, split_groups: Callable[[Tensor], Tensor]) -> Tensor:
    """What a position's features are multiplied by for the agreement of every group: (B, groups, C').

    Args:
        hidden: the input of the 1x1 convolution, (B, C', H, W).
        convolution: makes the residual (B, C, H, W).
        split_groups: (C, ...) -> (groups, C / groups, ...), by where the channels of a group are.
    """
    weight = at_least_float32(convolution.weight).flatten(1)  # (C, C')
    bias = None if convolution.bias is None else at_least_float32(convolution.bias)
    means = F.linear(at_least_float32(channel_means(hidden)), weight, bias)  # (B, C)
    return torch.bmm(split_groups(means.t()).transpose(1, 2), split_groups(weight)).transpose(0, 1)


def group_mask(attention: SpatialGroupEnhance, agreement: Tensor, residual: Tensor) -> Tensor:
    """(B, groups, H*W) -> (B, groups, 1, H, W), in the layout and type of the residual (B, C, H, W)."""
    mask = attention.mask_of(agreement).to(residual.dtype).unflatten(2, residual.shape[2:])
    if not (residual.is_contiguous() or torch.compiler.is_compiling()):
        mask = mask.contiguous(memory_format=torch.channels_last)
    return mask[:, :, None]


def add_scaled_groups(shortcut: Tensor, residual: Tensor, mask: Tensor) -> Tensor:
    """shortcut + mask * residual for a mask (B, groups, 1, H, W); see `add_scaled`."""
    groups = mask.shape[1]
    width = residual.shape[1] // groups
    if torch.compiler.is_compiling() and not residual.is_contiguous():
        # Positions first, as they are in memory: the loops compiled from it are shorter, and the output has the layout
        # that the next convolution takes.
        by_position, added = (x.permute(0, 2, 3, 1).unflatten(3, (groups, -1)) for x in (residual, shortcut))
        return add_scaled(added, by_position, mask.permute(0, 3, 4, 1, 2)).flatten(3).permute(0, 3, 1, 2)
    if residual.element_size() < 4 and width < 32:  # no kernel is made for broadcasting along so few channels
        return add_scaled(shortcut, residual, repeat_channels(mask, width))
    grouped, added = (x.unflatten(1, (groups, -1)) for x in (residual, shortcut))
    return add_scaled(added, grouped, mask).flatten(1, 2)


def repeat_channels(mask: Tensor, width: int) -> Tensor:
    """(B, groups, 1, H, W) -> (B, groups * width, H, W) in channels_last: the mask of each channel's group."""
    positions = mask[:, :, 0].permute(0, 2, 3, 1)  # (B, H, W, groups)
    # A product with ones and zeros: faster than repeating so few at a time.
    ones = torch.eye(mask.shape[1], dtype=mask.dtype, device=mask.device).repeat_interleave(width, dim=1)
    return (positions @ ones).permute(0, 3, 1, 2)
