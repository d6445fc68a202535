"""Adaptive average pooling that can be exported for images of any size."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GridPool(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two matrix products, since exporters support that module for fixed sizes only.

    Args:
        grid: rows and columns of the result.
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, rows, columns), the means over cells, which overlap where a side does not divide."""
        rows, columns = (
            cell_weights(length, cells, like=features)
            for length, cells in zip(features.shape[-2:], self.grid, strict=True)
        )
        return rows @ features @ columns.T


def cell_weights(length: int, cells: int, *, like: Tensor) -> Tensor:
    """(cells, length): the weight of each position in each cell's mean, floor(i n / k) to ceil((i + 1) n / k)."""
    cell = torch.arange(cells, device=like.device)[:, None]
    index = torch.arange(length, device=like.device)
    start, end = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
    inside = (index >= start) & (index < end)
    return inside.to(like.dtype) / (end - start).to(like.dtype)


def make_pools_dynamic(network: nn.Module) -> nn.Module:
    """Replace a network's adaptive poolings to more than one cell by `GridPool`, in place."""
    for owner in list(network.modules()):
        for name, module in list(owner.named_children()):
            if isinstance(module, nn.AdaptiveAvgPool2d):
                size = module.output_size
                grid = (size, size) if isinstance(size, int) else tuple(size)
                if None not in grid and grid != (1, 1):
                    setattr(owner, name, GridPool(grid))
    return network
