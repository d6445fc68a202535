"""What the kernels compute, in PyTorch. All features are (B, C, H, W); everything is float32 inside."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ean_core.attention.dia import advance


def channel_means(features: Tensor) -> Tensor:
    """(B, C) float32, the mean over the positions."""
    return features.float().mean(dim=(2, 3))


def add_relu(residual: Tensor, shortcut: Tensor) -> Tensor:
    """ReLU(residual + shortcut)."""
    return (residual.float() + shortcut.float()).relu().to(residual.dtype)


def scale_add_relu(residual: Tensor, mask: Tensor, shortcut: Tensor) -> Tensor:
    """ReLU(mask * residual + shortcut) for a channel mask (B, C)."""
    return (residual.float() * mask.float()[:, :, None, None] + shortcut.float()).relu().to(residual.dtype)


def excite(pooled: Tensor, squeeze: Tensor, squeeze_bias: Tensor, excite: Tensor, excite_bias: Tensor) -> Tensor:
    """SE's mask (B, C), of the means (B, C), for layers of weights (hidden, C) and (C, hidden)."""
    hidden = F.linear(pooled, squeeze.float(), squeeze_bias.float()).relu()
    return F.linear(hidden, excite.float(), excite_bias.float()).sigmoid()


def cell(gates: Tensor, more: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """DIA's hidden vector and cell, each (B, C), of the two parts of its gates (B, 4 C) and of its last cell (B, C)."""
    hidden, new = advance(gates.float() + more.float(), cell.float())
    return hidden.to(cell.dtype), new.to(cell.dtype)


def group_enhance(residual: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """ReLU(SGE(residual) + shortcut) for weight and bias (groups,)."""
    groups, places = len(weight), residual.shape[2] * residual.shape[3]
    grouped = residual.float().unflatten(1, (groups, -1)).flatten(3)  # (B, groups, C / groups, H*W)
    agreement = (grouped * grouped.mean(dim=3, keepdim=True)).sum(dim=2)  # (B, groups, H*W)
    centred = agreement - agreement.mean(dim=2, keepdim=True)
    spread = (centred.square().sum(dim=2, keepdim=True) / max(places - 1, 1)).sqrt()
    mask = torch.sigmoid(centred / (spread + eps) * weight[:, None] + bias[:, None])
    out = (grouped * mask[:, :, None]).flatten(1, 2).view_as(residual) + shortcut.float()
    return out.relu().to(residual.dtype)
