"""What the kernels compute, in plain PyTorch. Features are (B, C, H, W); all arithmetic is in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ean_core.attention.dia import update_cell


def channel_means(features: Tensor) -> Tensor:
    """(B, C) float32, the mean over the positions."""
    return features.float().mean(dim=(2, 3))


def biased(features: Tensor, bias: Tensor | None) -> Tensor:
    """float32 features with a bias (C,) added."""
    return features.float() if bias is None else features.float() + bias.float()[:, None, None]


def bias_relu(features: Tensor, bias: Tensor) -> Tensor:
    """ReLU(features + bias) for a bias (C,)."""
    return biased(features, bias).relu().to(features.dtype)


def add_relu(residual: Tensor, shortcut: Tensor, bias: Tensor | None = None) -> Tensor:
    """ReLU(residual + bias + shortcut) for a bias (C,)."""
    return (biased(residual, bias) + shortcut.float()).relu().to(residual.dtype)


def scale_add_relu(residual: Tensor, mask: Tensor, shortcut: Tensor, bias: Tensor | None = None) -> Tensor:
    """ReLU(mask * (residual + bias) + shortcut) for a channel mask (B, C) and a bias (C,)."""
    return (biased(residual, bias) * mask.float()[:, :, None, None] + shortcut.float()).relu().to(residual.dtype)


def excite(pooled: Tensor, squeeze: Tensor, squeeze_bias: Tensor, excite: Tensor, excite_bias: Tensor) -> Tensor:
    """SE's mask (B, C), of the means (B, inputs), for layers of weights (hidden, inputs) and (C, hidden)."""
    hidden = F.linear(pooled, squeeze.float(), squeeze_bias.float()).relu()
    return F.linear(hidden, excite.float(), excite_bias.float()).sigmoid()


def cell(gates: Tensor, cell: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """DIA's hidden vector and cell, each (B, C), of its gates (B, 4 C), or two parts of them, and its last cell."""
    hidden, new = update_cell(gates.float() + (0 if more is None else more.float()), cell.float())
    return hidden.to(cell.dtype), new.to(cell.dtype)


def group_enhance(
    residual: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor, eps: float, before: Tensor | None = None
) -> Tensor:
    """ReLU(SGE(residual + before) + shortcut) for weight and bias (groups,), and a bias (C,) of the residual."""
    groups, positions = len(weight), residual.shape[2] * residual.shape[3]
    grouped = biased(residual, before).unflatten(1, (groups, -1)).flatten(3)  # (B, groups, C / groups, H*W)
    agreement = (grouped * grouped.mean(dim=3, keepdim=True)).sum(dim=2)  # (B, groups, H*W)
    centered = agreement - agreement.mean(dim=2, keepdim=True)
    spread = (centered.square().sum(dim=2, keepdim=True) / max(positions - 1, 1)).sqrt()
    mask = torch.sigmoid(centered / (spread + eps) * weight[:, None] + bias[:, None])
    out = (grouped * mask[:, :, None]).flatten(1, 2).view_as(residual) + shortcut.float()
    return out.relu().to(residual.dtype)
