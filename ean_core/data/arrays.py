"""A small data set held as one tensor of bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ean_core.errors import EANError


@dataclass(frozen=True, eq=False)
class ArraySource:
    """All the images of a small data set.

    Args:
        images: uint8 (N, C, H, W), values 0 to 255.
        labels: int64 (N,), class numbers from 0.

    Raises:
        EANError: if a type or a shape is another one.
    """

    images: Tensor
    labels: Tensor
    # One copy a device, shared by all loaders of this source: the search's three loaders then cost one data set.
    _copies: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            found = f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            raise EANError(f"images are {found}: give them as torch.uint8 of shape (N, C, H, W)")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            found = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise EANError(f"labels are {found}: give one torch.int64 number for each of the {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, device: str | torch.device) -> tuple[Tensor, Tensor]:
        """(images, labels) on `device`, moved there the first time only."""
        device = torch.device(device)
        if device not in self._copies:
            self._copies[device] = (self.images.to(device), self.labels.to(device))
        return self._copies[device]
