"""Spatial Group-wise Enhance (https://arxiv.org/abs/1905.09646)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention.base import Attention, State
from ean_core.utils.errors import EANError


class SpatialGroupEnhance(Attention):
    """Spatial mask per channel group: how much each position agrees with the mean of its group.

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
        """(B, C, H, W) -> mask (B, C, H, W), the same for all channels of a group; SGE has no state."""
        mask = self.group_mask(residual)
        return mask.expand(-1, -1, residual.shape[1] // self.groups, -1, -1).flatten(1, 2), state

    def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
        """`residual` times its mask, group by group: a mask as large as the residual would cost another pass."""
        grouped = residual.unflatten(1, (self.groups, -1))  # (B, groups, C / groups, H, W)
        return (grouped * self.group_mask(residual)).flatten(1, 2), state

    def group_mask(self, residual: Tensor) -> Tensor:
        """(B, C, H, W) -> mask (B, groups, 1, H, W) in the residual's type."""
        mask = self.mask_of(self.agreement(residual)).to(residual.dtype)
        return mask.unflatten(2, residual.shape[2:])[:, :, None]

    def agreement(self, residual: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, groups, H*W), the dot product of each position's features with their group's mean."""
        with torch.autocast(residual.device.type, enabled=False):
            grouped = at_least_float32(residual).unflatten(1, (self.groups, -1)).flatten(3)
            return (grouped * grouped.mean(dim=3, keepdim=True)).sum(dim=2)

    def mask_of(self, agreement: Tensor) -> Tensor:
        """Agreement (B, groups, H*W) -> mask of the same shape: sigmoid(weight * normalized agreement + bias)."""
        with torch.autocast(agreement.device.type, enabled=False):
            centered = agreement - agreement.mean(dim=2, keepdim=True)
            # The unbiased standard deviation, as in the released code, from the norm: `std` takes a hundred times as
            # long on a CPU, and has no gradient on a 1x1 map, which has no spread: its mask is sigmoid(bias).
            std = torch.linalg.vector_norm(centered, dim=2, keepdim=True) / root(max(agreement.shape[2] - 1, 1))
            weight, bias = at_least_float32(self.weight)[:, None], at_least_float32(self.bias)[:, None]
            return torch.addcmul(bias, centered, weight / (std + self.eps)).sigmoid()


def at_least_float32(tensor: Tensor) -> Tensor:
    """In float32, or in its own type if that is finer: bfloat16 would lose the small differences that SGE amplifies."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def root(number: int | torch.SymInt) -> float | Tensor:
    """The square root; as a tensor where an export leaves the number open, since a .pt2 file holds no such float."""
    return torch.scalar_tensor(number).sqrt() if isinstance(number, torch.SymInt) else number**0.5
