"""Pooling to a grid, in a form that networks can be exported in for images of any size."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GridPool(nn.Module):
    """What `nn.AdaptiveAvgPool2d` gives, as two matrix products: converters know that one for known sizes only.

    Args:
        grid: rows and columns of the result.
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, rows, columns), the means over cells, which overlap where a side does not divide."""
        rows, columns = (
            shares(length, cells, like=features) for length, cells in zip(features.shape[-2:], self.grid, strict=True)
        )
        return rows @ features @ columns.T


def shares(length: int, cells: int, *, like: Tensor) -> Tensor:
    """(cells, length): how much each place counts in the mean of each cell, floor(i n / k) to ceil((i + 1) n / k)."""
    cell = torch.arange(cells, device=like.device)[:, None]
    place = torch.arange(length, device=like.device)
    first, end = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
    inside = (place >= first) & (place < end)
    return inside.to(like.dtype) / (end - first).to(like.dtype)


def free_of_sizes(network: nn.Module) -> nn.Module:
    """The network, in place, with its poolings to grids of more than one cell as `GridPool`."""
    for owner in list(network.modules()):
        for name, module in list(owner.named_children()):
            if isinstance(module, nn.AdaptiveAvgPool2d):
                size = module.output_size
                grid = (size, size) if isinstance(size, int) else tuple(size)
                if None not in grid and grid != (1, 1):
                    setattr(owner, name, GridPool(grid))
    return network
