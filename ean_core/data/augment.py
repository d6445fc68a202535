"""Random crop, flip and cutout of a whole batch at once, on the batch's device.

Crop and flip: the usual CIFAR recipe, https://arxiv.org/abs/1512.03385 section 4.2. Cutout: DeVries and Taylor,
"Improved Regularization of Convolutional Neural Networks with Cutout", https://arxiv.org/abs/1708.04552.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ean_core.utils.errors import EANError

MAX_PIXELS = 4096


class AugmentParams(NamedTuple):
    """Sampled augmentation parameters of B images; every field has shape (B,)."""

    top: Tensor  # int64, first row of the crop in the padded image, 0 to 2 * crop_padding
    left: Tensor  # int64, first column
    flip: Tensor  # bool
    cut_row: Tensor  # int64, center of the cutout square, 0 to H - 1
    cut_column: Tensor  # int64, 0 to W - 1

    def at(self, positions: Tensor) -> AugmentParams:
        """The parameters of the images at `positions`."""
        return AugmentParams(*(field[positions] for field in self))

    def to(self, device: str | torch.device) -> AugmentParams:
        return AugmentParams(*(field.to(device) for field in self))


@dataclass(frozen=True)
class Augment:
    """Random augmentation of training images, in this order: crop, flip, cutout."""

    crop_padding: int = 4  # black pixels added on every side before a crop of the old size; 0: no crop
    flip: bool = True  # mirror left to right with probability 1/2
    cutout: int = 0  # side in pixels of the square that is blanked out; 0: none
    cutout_fill: int | tuple[int, ...] = 0  # its value, 0 to 255, one for all channels or one for each

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout"):
            if not 0 <= getattr(self, name) <= MAX_PIXELS:
                raise EANError(f"augmentation has {name}={getattr(self, name)}: give 0 to {MAX_PIXELS} pixels")
        fill = [self.cutout_fill] if isinstance(self.cutout_fill, int) else self.cutout_fill
        if not fill or not all(0 <= value <= 255 for value in fill):
            raise EANError(f"augmentation has cutout_fill={self.cutout_fill}: give values from 0 to 255")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment every image of a uint8 batch (B, C, H, W) independently; the generator is on the CPU."""
        count, _, height, width = images.shape
        return self.apply(images, self.sample(count, height, width, generator).to(images.device))

    def sample(self, count: int, height: int, width: int, generator: torch.Generator) -> AugmentParams:
        """Sample parameters for `count` images of height x width.

        All fields are sampled whatever is enabled, so that disabling one augmentation leaves the others unchanged.
        """

        def integers(high: int) -> Tensor:
            return torch.randint(high, (count,), generator=generator)

        offsets = 2 * self.crop_padding + 1
        return AugmentParams(
            top=integers(offsets),
            left=integers(offsets),
            flip=integers(2).bool() & self.flip,
            cut_row=integers(height),
            cut_column=integers(width),
        )

    def apply(self, images: Tensor, params: AugmentParams) -> Tensor:
        """Augment a uint8 batch (B, C, H, W) on the parameters' device; returns a new batch."""
        if self.crop_padding or self.flip:
            images = crop_and_flip(images, params, padding=self.crop_padding)
        if self.cutout:
            images = cut_out(images, params, side=self.cutout, fill=self.cutout_fill)
        return images


def crop_and_flip(images: Tensor, params: AugmentParams, *, padding: int) -> Tensor:
    """Pad each image of (B, C, H, W) with zeros, crop it to its old size and mirror it, in a single gather."""
    channels, height, width = images.shape[1:]
    padded = F.pad(images, (padding,) * 4)
    column = torch.arange(width, device=images.device)
    columns = params.left[:, None] + torch.where(params.flip[:, None], width - 1 - column, column)  # (B, W)
    rows = params.top[:, None] + torch.arange(height, device=images.device)  # (B, H)
    pixels = rows[:, :, None] * padded.shape[-1] + columns[:, None, :]  # (B, H, W), positions in a flattened channel
    pixels = pixels.flatten(1)[:, None].expand(-1, channels, -1)  # (B, C, H * W), the same for all channels
    return padded.flatten(2).gather(2, pixels).view_as(images)


def cut_out(images: Tensor, params: AugmentParams, *, side: int, fill: int | tuple[int, ...]) -> Tensor:
    """Fill a square of each image of (B, C, H, W) around its sampled center; the square is clipped at the border.

    An even side reaches one pixel further up and left of the center. The authors' code fills with zero after
    normalization, which is the mean; here normalization comes later, so `fill` gives the value.
    """
    channels, height, width = images.shape[1:]
    if not isinstance(fill, int) and len(fill) != channels:
        raise EANError(f"cutout_fill has {len(fill)} values and images have {channels} channels: give one for each")
    inside_rows = _near(params.cut_row, height, side)[:, None, :, None]  # (B, 1, H, 1)
    inside_columns = _near(params.cut_column, width, side)[:, None, None, :]  # (B, 1, 1, W)
    inside = inside_rows & inside_columns  # (B, 1, H, W)
    if isinstance(fill, int):
        return images.masked_fill(inside, fill)
    # `torch.tensor(fill)` would be copied to the GPU and synchronize; `new_full` fills there.
    value = torch.stack([images.new_full((1, 1), level) for level in fill])  # (C, 1, 1)
    return torch.where(inside, value, images)


def _near(center: Tensor, length: int, side: int) -> Tensor:
    """bool (B, length): true at the `side` positions around each center (B,)."""
    first = center[:, None] - side // 2
    position = torch.arange(length, device=center.device)
    return (position >= first) & (position < first + side)
