"""The kernels, in Triton. Features are channels_last: (B, C, H, W) in memory as (B, H*W, C).

All of them write over the residual, and add up in float32 whatever the features are. With TRITON_INTERPRET=1 in the
environment they run, slowly, on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ean_core.utils.errors import EANError

BLOCK = 1024  # elements that an elementwise program works on
CHANNELS = 32  # of a program that adds up over the positions: 128 bytes side by side in float32
TILE = 8192  # elements of a tile of features, 32 for each thread of 8 warps
WEIGHTS = 16384  # elements of a layer that one program takes whole


@triton.jit
def tile(first, start, places, channels, column, known, PLACES: tl.constexpr):
    """Positions from `first` on of some columns: the rows, where they are in memory, and which of them are there."""
    row = first + tl.arange(0, PLACES)
    inside = (row < places)[:, None] & known[None, :]
    return row, start + row[:, None] * channels + column[None, :], inside


@triton.jit
def relu(value):
    """As PyTorch's: what is not a number stays so, and is not hidden as a zero."""
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def bias_relu_kernel(features, bias, count, channels, BLOCK: tl.constexpr):
    """`reference.bias_relu`, a block of elements a program."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(features + at, inside).to(tl.float32) + tl.load(bias + at % channels, inside).to(tl.float32)
    tl.store(features + at, relu(value).to(features.dtype.element_ty), inside)


@triton.jit
def add_relu_kernel(residual, shortcut, bias, count, channels, BIASED: tl.constexpr, BLOCK: tl.constexpr):
    """`reference.add_relu`, a block of elements a program."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(residual + at, inside).to(tl.float32) + tl.load(shortcut + at, inside).to(tl.float32)
    if BIASED:
        value += tl.load(bias + at % channels, inside).to(tl.float32)
    tl.store(residual + at, relu(value).to(residual.dtype.element_ty), inside)


@triton.jit
def scale_add_relu_kernel(
    residual, mask, shortcut, bias, per_image, channels, BIASED: tl.constexpr, BLOCK: tl.constexpr
):
    """`reference.scale_add_relu`, a block of an image's elements a program."""
    image = tl.program_id(1).to(tl.int64)  # a grid's second side is short: blocks of a large image go on the first
    within = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = within < per_image
    at, channel = image * per_image + within, within % channels
    scale = tl.load(mask + image * channels + channel, inside).to(tl.float32)
    value = tl.load(residual + at, inside).to(tl.float32)
    if BIASED:
        value += tl.load(bias + channel, inside).to(tl.float32)
    value = value * scale + tl.load(shortcut + at, inside).to(tl.float32)
    tl.store(residual + at, relu(value).to(residual.dtype.element_ty), inside)


@triton.jit
def channel_means_kernel(features, out, places, channels, PLACES: tl.constexpr, CHANNELS: tl.constexpr):
    """`reference.channel_means`, some channels of an image a program."""
    image = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    known = column < channels
    total = tl.zeros((CHANNELS,), tl.float32)
    for first in range(0, places, PLACES):
        _, at, inside = tile(first, image * places * channels, places, channels, column, known, PLACES)
        total += tl.sum(tl.load(features + at, inside, other=0.0).to(tl.float32), axis=0)
    tl.store(out + image * channels + column, total / places, known)


@triton.jit
def excite_kernel(
    pooled,
    squeeze,
    squeeze_bias,
    excite,
    excite_bias,
    out,
    inputs,
    channels,
    hidden,
    INPUTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    HIDDEN: tl.constexpr,
):
    """`reference.excite`, an image a program."""
    image = tl.program_id(0).to(tl.int64)
    column, row, place = tl.arange(0, CHANNELS), tl.arange(0, HIDDEN), tl.arange(0, INPUTS)
    known, there, given = column < channels, row < hidden, place < inputs
    mean = tl.load(pooled + image * inputs + place, given, other=0.0)
    both = there[:, None] & given[None, :]
    weight = tl.load(squeeze + row[:, None] * inputs + place[None, :], both, other=0.0).to(tl.float32)
    inner = tl.sum(weight * mean[None, :], axis=1) + tl.load(squeeze_bias + row, there, other=0.0).to(tl.float32)
    both = there[:, None] & known[None, :]
    weight = tl.load(excite + column[None, :] * hidden + row[:, None], both, other=0.0).to(tl.float32)
    score = tl.sum(weight * relu(inner)[:, None], axis=0)
    score += tl.load(excite_bias + column, known, other=0.0).to(tl.float32)
    tl.store(out + image * channels + column, tl.sigmoid(score), known)


@triton.jit
def gate(gates, more, at, inside, BOTH: tl.constexpr):
    """One of the gates, of which there may be two parts."""
    value = tl.load(gates + at, inside).to(tl.float32)
    if BOTH:
        value += tl.load(more + at, inside).to(tl.float32)
    return value


@triton.jit
def cell_kernel(gates, more, cell, out, out_cell, count, channels, BOTH: tl.constexpr, BLOCK: tl.constexpr):
    """`reference.cell`, a block of the (B, C) elements a program."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    first = at // channels * 4 * channels + at % channels  # of four gates that lie `channels` apart
    take = gate(gates, more, first, inside, BOTH)
    forget = gate(gates, more, first + channels, inside, BOTH)
    candidate = gate(gates, more, first + 2 * channels, inside, BOTH)
    give = gate(gates, more, first + 3 * channels, inside, BOTH)
    tanh = 2.0 * tl.sigmoid(2.0 * candidate) - 1.0
    new = tl.sigmoid(forget) * tl.load(cell + at, inside).to(tl.float32) + tl.sigmoid(take) * tanh
    tl.store(out_cell + at, new.to(out_cell.dtype.element_ty), inside)
    tl.store(out + at, (tl.sigmoid(give) * tl.sigmoid(new)).to(out.dtype.element_ty), inside)


@triton.jit
def group_enhance_kernel(
    residual,
    shortcut,
    weight,
    bias,
    before,
    places,
    channels,
    spread_count,
    eps,
    BIASED: tl.constexpr,
    WIDTH: tl.constexpr,
    PLACES: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """`reference.group_enhance`, a group of an image a program.

    It goes over the group's features three times, the last two times mostly out of the cache: the mean, the spread of
    the agreement with it, and the result. The group's width is known to the compiler, as otherwise it reads and writes
    groups of 4 and 8 channels a number at a time.
    """
    image, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = tl.arange(0, COLUMNS)
    known = column < WIDTH
    start = image * places * channels + group * WIDTH
    mean = tl.zeros((COLUMNS,), tl.float32)
    for first in range(0, places, PLACES):
        _, at, inside = tile(first, start, places, channels, column, known, PLACES)
        mean += tl.sum(tl.load(residual + at, inside, other=0.0).to(tl.float32), axis=0)
    # A bias of the features is a part of their mean. To the agreement of all positions it adds the same, which centring
    # takes out again, so that both sums below do without.
    plain = mean / places
    mean, missing = plain, tl.zeros((COLUMNS,), tl.float32)
    if BIASED:
        missing = tl.load(before + group * WIDTH + column, known, other=0.0).to(tl.float32)
        mean += missing
    middle = tl.sum(plain * mean, axis=0)  # the mean of the agreement, since the agreement is linear in the features
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
        value = (value + missing[None, :]) * mask[:, None] + tl.load(shortcut + at, inside, other=0.0).to(tl.float32)
        tl.store(residual + at, relu(value).to(residual.dtype.element_ty), inside)


# -- the functions: as in reference.py, but features are returned in the place of the residual ---------------------


def bias_relu(features: Tensor, bias: Tensor) -> Tensor:
    """ReLU(features + bias) for a bias (C,)."""
    check(features)
    count = features.numel()
    launch(bias_relu_kernel, (triton.cdiv(count, BLOCK),), features, bias, count, features.shape[1], BLOCK=BLOCK)
    return features


def add_relu(residual: Tensor, shortcut: Tensor, bias: Tensor | None = None) -> Tensor:
    """ReLU(residual + bias + shortcut) for a bias (C,)."""
    check(residual, shortcut)
    count, how = residual.numel(), {"BIASED": bias is not None, "BLOCK": BLOCK}
    given = (residual, shortcut, residual if bias is None else bias)
    launch(add_relu_kernel, (triton.cdiv(count, BLOCK),), *given, count, residual.shape[1], **how)
    return residual


def scale_add_relu(residual: Tensor, mask: Tensor, shortcut: Tensor, bias: Tensor | None = None) -> Tensor:
    """ReLU(mask * (residual + bias) + shortcut) for a channel mask (B, C), or (1, C) or (B, 1), and a bias (C,)."""
    check(residual, shortcut)
    batch, channels, height, width = residual.shape
    per_image, how = channels * height * width, {"BIASED": bias is not None, "BLOCK": BLOCK}
    given = (residual, mask.expand(batch, channels).contiguous(), shortcut, residual if bias is None else bias)
    launch(scale_add_relu_kernel, (triton.cdiv(per_image, BLOCK), batch), *given, per_image, channels, **how)
    return residual


def channel_means(features: Tensor) -> Tensor:
    """(B, C) float32, the mean over the positions."""
    check(features)
    batch, channels, height, width = features.shape
    out = features.new_empty(batch, channels, dtype=torch.float32)
    places = height * width
    tile = {"PLACES": max(16, min(triton.next_power_of_2(places), TILE // CHANNELS)), "CHANNELS": CHANNELS}
    grid = (batch, triton.cdiv(channels, CHANNELS))
    launch(channel_means_kernel, grid, features, out, places, channels, **tile, num_warps=warps(tile))
    return out


def excites(squeeze: Tensor, excite: Tensor) -> bool:
    """Whether `excite` takes layers of these sizes, (hidden, inputs) and (C, hidden): a program reads both whole."""
    (hidden, inputs), channels = squeeze.shape, len(excite)
    return triton.next_power_of_2(hidden) * triton.next_power_of_2(max(inputs, channels)) <= WEIGHTS


def excite(pooled: Tensor, squeeze: Tensor, squeeze_bias: Tensor, excite: Tensor, excite_bias: Tensor) -> Tensor:
    """SE's mask, (B, C) float32, of the means (B, inputs) float32; the layers are those of `excites`."""
    (batch, inputs), (channels, hidden) = pooled.shape, excite.shape
    out = pooled.new_empty(batch, channels)
    layers = [one.contiguous() for one in (squeeze, squeeze_bias, excite, excite_bias)]
    sizes = {"CHANNELS": triton.next_power_of_2(channels), "HIDDEN": triton.next_power_of_2(hidden)}
    how = {"INPUTS": triton.next_power_of_2(inputs), **sizes, "num_warps": warps(sizes)}
    launch(excite_kernel, (batch,), pooled, *layers, out, inputs, channels, hidden, **how)
    return out


def cell(gates: Tensor, cell: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """DIA's hidden vector and cell, each (B, C), of its gates (B, 4 C), or two parts of them, and its last cell."""
    hidden, new = torch.empty_like(cell), torch.empty_like(cell)
    given = (gates, gates if more is None else more, cell, hidden, new, cell.numel(), cell.shape[1])
    launch(cell_kernel, (triton.cdiv(cell.numel(), BLOCK),), *given, BOTH=more is not None, BLOCK=BLOCK)
    return hidden, new


def group_enhance(
    residual: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor, eps: float, before: Tensor | None = None
) -> Tensor:
    """ReLU(SGE(residual + before) + shortcut) for weight and bias (groups,), and a bias (C,) of the residual."""
    check(residual, shortcut)
    batch, channels, height, side = residual.shape
    places, groups = height * side, len(weight)
    width = channels // groups
    columns = triton.next_power_of_2(width)
    tile = {"PLACES": max(16, min(triton.next_power_of_2(places), TILE // columns)), "COLUMNS": columns}
    given = (residual, shortcut, weight, bias, residual if before is None else before)
    how = {"BIASED": before is not None, "WIDTH": width, **tile, "num_warps": warps(tile)}
    launch(group_enhance_kernel, (batch, groups), *given, places, channels, max(places - 1, 1), eps, **how)
    return residual


def launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **options: Any) -> None:
    """Launch on the tensors' device, which need not be the current one."""
    with torch.cuda.device_of(first):
        kernel[grid](first, *arguments, **options)


def warps(tile: dict[str, int]) -> int:
    """1 to 8 warps for a tile, so that a thread has 32 elements or fewer."""
    sides = list(tile.values())
    return max(1, min(8, sides[0] * sides[1] // 1024))


def check(*features: Tensor) -> None:
    """Refuse what the kernels would read wrongly, and what they would give wrong gradients for.

    Raises:
        EANError: for another layout or shapes that differ, and where PyTorch records for gradients.
    """
    shape = features[0].shape
    for one in features:
        if one.requires_grad:
            raise EANError("the kernels have no gradients: call the network in torch.inference_mode()")
        if one.shape != shape or not one.is_contiguous(memory_format=torch.channels_last):
            raise EANError(f"the kernels take features of one shape in channels_last, got {one.shape}, {one.stride()}")
