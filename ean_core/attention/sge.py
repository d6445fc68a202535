"""Spatial Group-wise Enhance (https://arxiv.org/abs/1905.09646)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention.base import Attention, State
from ean_core.errors import EANError


class SpatialGroupEnhance(Attention):
    """Spatial mask per channel group: how much each position agrees with the group's mean.

    Args:
        channels: C of the residual (B, C, H, W).
        groups: number of groups, a divisor of `channels` (the paper: 64 on ImageNet, 8 on CIFAR).
    """

    eps = 1e-5  # added to the standard deviation, as in the released code

    def __init__(self, channels: int, *, groups: int = 64) -> None:
        super().__init__()
        if channels % groups:
            raise EANError(f"sge: {channels} channels cannot be divided into {groups} groups: give a divisor")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(groups))
        self.bias = nn.Parameter(torch.ones(groups))

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C, H, W) mask, the same for all channels of a group; no state."""
        batch, channels, height, width = residual.shape
        # In float32: under autocast the agreement would lose the small differences that are normalised below.
        grouped = residual.float().reshape(batch, self.groups, channels // self.groups, height * width)
        agreement = (grouped * grouped.mean(dim=3, keepdim=True)).sum(dim=2)  # (B, groups, H*W)
        centred = agreement - agreement.mean(dim=2, keepdim=True)
        # Unbiased, as in the released code; a 1x1 map has no spread to divide by, and its mask is sigmoid(bias).
        spread = agreement.std(dim=2, keepdim=True, correction=1 if height * width > 1 else 0)
        score = centred / (spread + self.eps) * self.weight[:, None] + self.bias[:, None]
        mask = score.sigmoid().to(residual.dtype).unsqueeze(2)  # (B, groups, 1, H*W)
        mask = mask.expand(-1, -1, channels // self.groups, -1).reshape(batch, channels, height, width)
        return mask, state
