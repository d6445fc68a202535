"""Normalization of uint8 images, on the images' device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x / 255 - mean) / std per channel.

    Args:
        mean: per channel, of images scaled to [0, 1].
        std: likewise.
        channels_last: return the batch in that memory format, in which convolutions are often faster.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, channels_last: bool = False) -> None:
        super().__init__()
        # Not saved with the weights: mean and std belong to the data and are stored beside the checkpoint's weights.
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(std).view(-1, 1, 1)), persistent=False)
        self.register_buffer("shift", (torch.tensor(mean) / torch.tensor(std)).view(-1, 1, 1), persistent=False)
        self.format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32 (B, C, H, W)."""
        return (images.float() * self.scale - self.shift).contiguous(memory_format=self.format)
