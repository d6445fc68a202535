"""Image sources: a tensor of all images, or files that are decoded when needed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ean_core.utils.errors import EANError


@dataclass(frozen=True, eq=False)
class ArraySource:
    """All the images of a small data set.

    Args:
        images: uint8 (N, C, H, W), values 0 to 255.
        labels: int64 (N,), class numbers from 0.

    Raises:
        EANError: for another dtype or shape.
    """

    images: Tensor
    labels: Tensor
    # One copy per device, shared by all loaders of this source.
    _copies: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            kind = f"{self.images.dtype} of shape {tuple(self.images.shape)}"
            raise EANError(f"images are {kind}: give them as torch.uint8 of shape (N, C, H, W)")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            kind = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise EANError(f"labels are {kind}: give one torch.int64 number for each of the {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.labels)

    def on(self, device: str | torch.device) -> tuple[Tensor, Tensor]:
        """(images, labels) on `device`; the copy is kept."""
        device = torch.empty(0, device=device).device  # "cuda" and "cuda:0" share one copy
        if device not in self._copies:
            self._copies[device] = (self.images.to(device), self.labels.to(device))
        return self._copies[device]


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Image files, decoded by worker processes.

    Args:
        paths: N image files.
        labels: int64 (N,), class numbers from 0.
        image_size: side in pixels of the square crops in a batch.
        resize: length in pixels of the shorter side before the center crop of evaluation.
        upright: apply the EXIF orientation; ImageNet is used as published, without it.

    Raises:
        EANError: if the lengths differ or the sizes are impossible.
    """

    paths: tuple[str, ...]
    labels: Tensor
    image_size: int = 224
    resize: int = 256
    upright: bool = False

    def __post_init__(self) -> None:
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.paths),):
            kind = f"{self.labels.dtype} of shape {tuple(self.labels.shape)}"
            raise EANError(f"labels are {kind}: give one torch.int64 number for each of the {len(self.paths)} files")
        if not 1 <= self.image_size <= self.resize:
            raise EANError(
                f"image_size={self.image_size} with resize={self.resize}: give at least 1 pixel and at most resize"
            )

    def __len__(self) -> int:
        return len(self.paths)
