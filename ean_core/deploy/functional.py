"""The two passes over the features that recalibration takes: channel means, and product with sum."""

from __future__ import annotations

import torch
from torch import Tensor


def add_scaled(shortcut: Tensor, residual: Tensor, mask: Tensor) -> Tensor:
    """shortcut + mask * residual in one pass that overwrites `residual`; all (B, C, H, W) or broadcastable to it.

    With gradients nothing is overwritten. A compiler fuses passes by itself, and better without being told where to
    write.
    """
    if residual.requires_grad or torch.compiler.is_compiling():
        return shortcut + residual * mask
    return torch.addcmul(shortcut, residual, mask, out=residual)


def channel_means(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C), the mean over the positions."""
    batch, channels, height, width = features.shape
    low, dense = features.dtype == torch.bfloat16, features.is_contiguous(memory_format=torch.channels_last)
    eager = not (features.requires_grad or torch.compiler.is_compiling())
    if low and dense and eager and features.device.type == "cpu":
        # PyTorch's sum over bfloat16 on a CPU takes three times as long as a matrix product that does the same.
        positions = features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)  # a view
        sums = torch.bmm(features.new_ones(batch, 1, height * width), positions)  # (B, 1, C), added up in float32
        return sums[:, 0] / (height * width)
    return features.mean(dim=(2, 3))
