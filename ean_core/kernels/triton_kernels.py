"""The kernels, in Triton. Features are channels_last: (B, C, H, W) in memory as (B, H*W, C).

All of them write over the residual, and add up in float32 whatever the features are. With TRITON_INTERPRET=1 in the
environment they run, slowly, on a CPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ean_core.errors import EANError

BLOCK = 1024  # elements that an elementwise program works on
CHANNELS, PLACES = 64, 64  # a tile of features, in programs that add up over the positions


@triton.jit
def tile(first, start, places, channels, column, known, PLACES: tl.constexpr):
    """Positions from `first` on of some columns: the rows, where they are in memory, and which of them are there."""
    row = first + tl.arange(0, PLACES)
    inside = (row < places)[:, None] & known[None, :]
    return row, start + row[:, None] * channels + column[None, :], inside


@triton.jit
def add_relu_kernel(residual, shortcut, count, BLOCK: tl.constexpr):
    """`plain.add_relu`, a block of elements a program."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(residual + at, inside).to(tl.float32) + tl.load(shortcut + at, inside).to(tl.float32)
    tl.store(residual + at, tl.maximum(value, 0.0).to(residual.dtype.element_ty), inside)


@triton.jit
def scale_add_relu_kernel(residual, mask, shortcut, per_image, channels, BLOCK: tl.constexpr):
    """`plain.scale_add_relu`, a block of an image's elements a program."""
    image = tl.program_id(0).to(tl.int64)
    within = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = within < per_image
    at = image * per_image + within
    scale = tl.load(mask + image * channels + within % channels, inside).to(tl.float32)
    value = tl.load(residual + at, inside).to(tl.float32) * scale + tl.load(shortcut + at, inside).to(tl.float32)
    tl.store(residual + at, tl.maximum(value, 0.0).to(residual.dtype.element_ty), inside)


@triton.jit
def channel_means_kernel(features, out, places, channels, PLACES: tl.constexpr, CHANNELS: tl.constexpr):
    """`plain.channel_means`, some channels of an image a program."""
    image = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = column < channels
    total = tl.zeros((CHANNELS,), tl.float32)
    for first in range(0, places, PLACES):
        _, at, inside = tile(first, image * places * channels, places, channels, column, known, PLACES)
        total += tl.sum(tl.load(features + at, inside, other=0.0).to(tl.float32), axis=0)
    tl.store(out + image * channels + column, total / places, known)


@triton.jit
def group_enhance_kernel(
    residual,
    shortcut,
    weight,
    bias,
    places,
    channels,
    width,
    spread_count,
    eps,
    PLACES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """`plain.group_enhance`, a group of an image a program.

    It goes over the group's features three times, the last two times mostly out of the cache: the mean, the spread of
    the agreement with it, and the result.
    """
    image, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = tl.arange(0, WIDTH)
    known = column < width
    start = image * places * channels + group * width
    mean = tl.zeros((WIDTH,), tl.float32)
    for first in range(0, places, PLACES):
        _, at, inside = tile(first, start, places, channels, column, known, PLACES)
        mean += tl.sum(tl.load(residual + at, inside, other=0.0).to(tl.float32), axis=0)
    mean = mean / places
    middle = tl.sum(mean * mean, axis=0)  # the mean of the agreement, since the agreement is linear in the features
    squares = tl.zeros((PLACES,), tl.float32)
    for first in range(0, places, PLACES):
        row, at, inside = tile(first, start, places, channels, column, known, PLACES)
        value = tl.load(residual + at, inside, other=0.0).to(tl.float32)
        centred = tl.where(row < places, tl.sum(value * mean[None, :], axis=1) - middle, 0.0)
        squares += centred * centred
    scale = tl.load(weight + group).to(tl.float32) / (tl.sqrt(tl.sum(squares, axis=0) / spread_count) + eps)
    shift = tl.load(bias + group).to(tl.float32)
    for first in range(0, places, PLACES):
        _, at, inside = tile(first, start, places, channels, column, known, PLACES)
        value = tl.load(residual + at, inside, other=0.0).to(tl.float32)
        mask = tl.sigmoid((tl.sum(value * mean[None, :], axis=1) - middle) * scale + shift)
        value = value * mask[:, None] + tl.load(shortcut + at, inside, other=0.0).to(tl.float32)
        tl.store(residual + at, tl.maximum(value, 0.0).to(residual.dtype.element_ty), inside)


# -- what is called: arguments and results as in plain.py, the result in the residual's place --------------------------


def add_relu(residual: Tensor, shortcut: Tensor) -> Tensor:
    """ReLU(residual + shortcut)."""
    check_layout(residual, shortcut)
    count = residual.numel()
    add_relu_kernel[(triton.cdiv(count, BLOCK),)](residual, shortcut, count, BLOCK=BLOCK)
    return residual


def scale_add_relu(residual: Tensor, mask: Tensor, shortcut: Tensor) -> Tensor:
    """ReLU(mask * residual + shortcut) for a channel mask (B, C)."""
    check_layout(residual, shortcut)
    batch, channels, height, width = residual.shape
    per_image = channels * height * width
    grid = (batch, triton.cdiv(per_image, BLOCK))
    scale_add_relu_kernel[grid](residual, mask.contiguous(), shortcut, per_image, channels, BLOCK=BLOCK)
    return residual


def channel_means(features: Tensor) -> Tensor:
    """(B, C) float32, the mean over the positions."""
    check_layout(features, features)
    batch, channels, height, width = features.shape
    out = features.new_empty(batch, channels, dtype=torch.float32)
    grid = (batch, triton.cdiv(channels, CHANNELS))
    channel_means_kernel[grid](features, out, height * width, channels, PLACES=PLACES, CHANNELS=CHANNELS)
    return out


def group_enhance(residual: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """ReLU(SGE(residual) + shortcut) for weight and bias (groups,)."""
    check_layout(residual, shortcut)
    batch, channels, height, side = residual.shape
    places, groups = height * side, len(weight)
    width = channels // groups
    group_enhance_kernel[(batch, groups)](
        residual,
        shortcut,
        weight,
        bias,
        places,
        channels,
        width,
        max(places - 1, 1),
        eps,
        PLACES=max(16, min(triton.next_power_of_2(places), 4096 // triton.next_power_of_2(width))),
        WIDTH=triton.next_power_of_2(width),
    )
    return residual


def check_layout(*features: Tensor) -> None:
    """Refuse what the kernels would read wrongly."""
    shape = features[0].shape
    for one in features:
        if one.shape != shape or not one.is_contiguous(memory_format=torch.channels_last):
            raise EANError(f"the kernels take features of one shape in channels_last, got {one.shape}, {one.stride()}")
