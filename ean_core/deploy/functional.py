"""The pass over the features that recalibration takes: product and sum in one."""

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
