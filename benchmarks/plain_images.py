"""Training images as they are usually written with PyTorch alone: cropped, flipped and normalized one by one."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

PADDING = 4  # pixels on every side, before the crop


class PlainImages(Dataset):
    """Random crops and flips.

    Args:
        images: uint8 (N, 3, S, S).
        labels: (N,).
        mean: of the values between 0 and 1, (3, 1, 1).
        std: as `mean`.
    """

    def __init__(self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        self.images, self.labels, self.mean, self.std = images, labels, mean, std

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A float (3, S, S) image and its label."""
        padded, places = pad(self.images[index], (PADDING,) * 4), 2 * PADDING + 1
        top, left = torch.randint(places, (1,)).item(), torch.randint(places, (1,)).item()
        flip, side = torch.rand(1).item() < 0.5, self.images.shape[-1]
        image = padded[:, top : top + side, left : left + side]
        image = image.flip(2) if flip else image
        return (image.float() / 255 - self.mean) / self.std, self.labels[index]
