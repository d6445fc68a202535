"""The kernels, in Triton. Features are channels_last: (B, C, H, W) in memory as (B, H*W, C).

All kernels overwrite the residual and compute in float32 whatever the type of the features. With TRITON_INTERPRET=1 in
the environment they run, slowly, on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from ean_core.utils.errors import EANError

BLOCK = 1024  # elements per program of elementwise kernels
CHANNELS = 32  # per program of a sum over positions: 128 contiguous bytes in float32
TILE = 8192  # elements of a tile of features, 32 for each thread of 8 warps
WEIGHTS = 16384  # largest layer that one program holds, in elements


@triton.jit
def tile(start_row, start, positions, channels, column, in_columns, POSITIONS: tl.constexpr):
    """A tile of features from row `start_row` on: its rows, memory offsets, and the mask of valid elements."""
    row = start_row + tl.arange(0, POSITIONS)
    inside = (row < positions)[:, None] & in_columns[None, :]
    return row, start + row[:, None] * channels + column[None, :], inside


@triton.jit
def relu(value):
    """ReLU that propagates NaN, as PyTorch's does."""
    return tl.maximum(value, 0.0, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def bias_relu_kernel(features, bias, count, channels, BLOCK: tl.constexpr):
    """`reference.bias_relu`, one block of elements per program."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(features + at, inside).to(tl.float32) + tl.load(bias + at % channels, inside).to(tl.float32)
    tl.store(features + at, relu(value).to(features.dtype.element_ty), inside)


@triton.jit
def add_relu_kernel(residual, shortcut, bias, count, channels, BIASED: tl.constexpr, BLOCK: tl.constexpr):
    """`reference.add_relu`, one block of elements per program."""
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
    """`reference.scale_add_relu`, one block of an image's elements per program."""
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
def channel_means_kernel(features, out, positions, channels, POSITIONS: tl.constexpr, CHANNELS: tl.constexpr):
    """`reference.channel_means`, some channels of one image per program."""
    image = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    in_channels = column < channels
    total = tl.zeros((CHANNELS,), tl.float32)
    for first in range(0, positions, POSITIONS):
        _, at, inside = tile(first, image * positions * channels, positions, channels, column, in_channels, POSITIONS)
        total += tl.sum(tl.load(features + at, inside, other=0.0).to(tl.float32), axis=0)
    tl.store(out + image * channels + column, total / positions, in_channels)


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
    """`reference.excite`, one image per program."""
    image = tl.program_id(0).to(tl.int64)
    column, row, index = tl.arange(0, CHANNELS), tl.arange(0, HIDDEN), tl.arange(0, INPUTS)
    in_channels, in_hidden, in_inputs = column < channels, row < hidden, index < inputs
    mean = tl.load(pooled + image * inputs + index, in_inputs, other=0.0)
    in_layer = in_hidden[:, None] & in_inputs[None, :]
    weight = tl.load(squeeze + row[:, None] * inputs + index[None, :], in_layer, other=0.0).to(tl.float32)
    inner = tl.sum(weight * mean[None, :], axis=1) + tl.load(squeeze_bias + row, in_hidden, other=0.0).to(tl.float32)
    in_layer = in_hidden[:, None] & in_channels[None, :]
    weight = tl.load(excite + column[None, :] * hidden + row[:, None], in_layer, other=0.0).to(tl.float32)
    score = tl.sum(weight * relu(inner)[:, None], axis=0)
    score += tl.load(excite_bias + column, in_channels, other=0.0).to(tl.float32)
    tl.store(out + image * channels + column, tl.sigmoid(score), in_channels)


@triton.jit
def gate(gates, more, at, inside, BOTH: tl.constexpr):
    """Load one gate, the sum of two parts where BOTH is set."""
    value = tl.load(gates + at, inside).to(tl.float32)
    if BOTH:
        value += tl.load(more + at, inside).to(tl.float32)
    return value


@triton.jit
def cell_kernel(gates, more, cell, out, out_cell, count, channels, BOTH: tl.constexpr, BLOCK: tl.constexpr):
    """`reference.cell`, one block of the (B, C) elements per program."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    offset = at // channels * 4 * channels + at % channels  # of four gates that lie `channels` apart
    take = gate(gates, more, offset, inside, BOTH)
    forget = gate(gates, more, offset + channels, inside, BOTH)
    candidate = gate(gates, more, offset + 2 * channels, inside, BOTH)
    give = gate(gates, more, offset + 3 * channels, inside, BOTH)
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
    positions,
    channels,
    spread_count,
    eps,
    BIASED: tl.constexpr,
    WIDTH: tl.constexpr,
    POSITIONS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """`reference.group_enhance`, one group of one image per program.

    Three passes over the group's features, the last two mostly from the cache: the mean, the standard deviation of the
    agreement, and the result. The group's width is a compile-time constant, as otherwise groups of 4 and 8 channels are
    read and written one number at a time.
    """
    image, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = tl.arange(0, COLUMNS)
    in_group = column < WIDTH
    start = image * positions * channels + group * WIDTH
    mean = tl.zeros((COLUMNS,), tl.float32)
    for first in range(0, positions, POSITIONS):
        _, at, inside = tile(first, start, positions, channels, column, in_group, POSITIONS)
        mean += tl.sum(tl.load(residual + at, inside, other=0.0).to(tl.float32), axis=0)
    # A bias of the features is a part of their mean. To the agreement of all positions it adds the same, which
    # centering takes out again, so that both sums below do without.
    unbiased_mean = mean / positions
    mean, offset = unbiased_mean, tl.zeros((COLUMNS,), tl.float32)
    if BIASED:
        offset = tl.load(before + group * WIDTH + column, in_group, other=0.0).to(tl.float32)
        mean += offset
    middle = tl.sum(unbiased_mean * mean, axis=0)  # the mean of the agreement, which is linear in the features
    squares = tl.zeros((POSITIONS,), tl.float32)
    for first in range(0, positions, POSITIONS):
        row, at, inside = tile(first, start, positions, channels, column, in_group, POSITIONS)
        value = tl.load(residual + at, inside, other=0.0).to(tl.float32)
        centered = tl.where(row < positions, tl.sum(value * mean[None, :], axis=1) - middle, 0.0)
        squares += centered * centered
    scale = tl.load(weight + group).to(tl.float32) / (tl.sqrt(tl.sum(squares, axis=0) / spread_count) + eps)
    shift = tl.load(bias + group).to(tl.float32)
    for first in range(0, positions, POSITIONS):
        _, at, inside = tile(first, start, positions, channels, column, in_group, POSITIONS)
        value = tl.load(residual + at, inside, other=0.0).to(tl.float32)
        mask = tl.sigmoid((tl.sum(value * mean[None, :], axis=1) - middle) * scale + shift)
        value = (value + offset[None, :]) * mask[:, None] + tl.load(shortcut + at, inside, other=0.0).to(tl.float32)
        tl.store(residual + at, relu(value).to(residual.dtype.element_ty), inside)


# -- the functions, as in reference.py, but the result overwrites the residual --------------------------------------


def bias_relu(features: Tensor, bias: Tensor) -> Tensor:
    """ReLU(features + bias) for a bias (C,)."""
    check(features)
    count = features.numel()
    launch(bias_relu_kernel, (triton.cdiv(count, BLOCK),), features, bias, count, features.shape[1], BLOCK=BLOCK)
    return features


def add_relu(residual: Tensor, shortcut: Tensor, bias: Tensor | None = None) -> Tensor:
    """ReLU(residual + bias + shortcut) for a bias (C,)."""
    check(residual, shortcut)
    count, options = residual.numel(), {"BIASED": bias is not None, "BLOCK": BLOCK}
    tensors = (residual, shortcut, residual if bias is None else bias)
    launch(add_relu_kernel, (triton.cdiv(count, BLOCK),), *tensors, count, residual.shape[1], **options)
    return residual


def scale_add_relu(residual: Tensor, mask: Tensor, shortcut: Tensor, bias: Tensor | None = None) -> Tensor:
    """ReLU(mask * (residual + bias) + shortcut) for a channel mask (B, C), or (1, C) or (B, 1), and a bias (C,)."""
    check(residual, shortcut)
    batch, channels, height, width = residual.shape
    per_image, options = channels * height * width, {"BIASED": bias is not None, "BLOCK": BLOCK}
    tensors = (residual, mask.expand(batch, channels).contiguous(), shortcut, residual if bias is None else bias)
    launch(scale_add_relu_kernel, (triton.cdiv(per_image, BLOCK), batch), *tensors, per_image, channels, **options)
    return residual


def channel_means(features: Tensor) -> Tensor:
    """(B, C) float32, the mean over the positions."""
    check(features)
    batch, channels, height, width = features.shape
    out = features.new_empty(batch, channels, dtype=torch.float32)
    positions = height * width
    tile = {"POSITIONS": max(16, min(triton.next_power_of_2(positions), TILE // CHANNELS)), "CHANNELS": CHANNELS}
    grid = (batch, triton.cdiv(channels, CHANNELS))
    launch(channel_means_kernel, grid, features, out, positions, channels, **tile, num_warps=warps(tile))
    return out


def excites(squeeze: Tensor, excite: Tensor) -> bool:
    """Whether `excite` takes layers of these sizes, (hidden, inputs) and (C, hidden): a program reads both whole."""
    (hidden, inputs), channels = squeeze.shape, len(excite)
    return triton.next_power_of_2(hidden) * triton.next_power_of_2(max(inputs, channels)) <= WEIGHTS


def excite(pooled: Tensor, squeeze: Tensor, squeeze_bias: Tensor, excite: Tensor, excite_bias: Tensor) -> Tensor:
    """SE's mask, (B, C) float32, of the means (B, inputs) float32; the layers are those of `excites`."""
    (batch, inputs), (channels, hidden) = pooled.shape, excite.shape
    out = pooled.new_empty(batch, channels)
    layers = [tensor.contiguous() for tensor in (squeeze, squeeze_bias, excite, excite_bias)]
    sizes = {"CHANNELS": triton.next_power_of_2(channels), "HIDDEN": triton.next_power_of_2(hidden)}
    options = {"INPUTS": triton.next_power_of_2(inputs), **sizes, "num_warps": warps(sizes)}
    launch(excite_kernel, (batch,), pooled, *layers, out, inputs, channels, hidden, **options)
    return out


def cell(gates: Tensor, cell: Tensor, more: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """DIA's hidden vector and cell, each (B, C), of its gates (B, 4 C), or two parts of them, and its last cell."""
    hidden, new = torch.empty_like(cell), torch.empty_like(cell)
    tensors = (gates, gates if more is None else more, cell, hidden, new, cell.numel(), cell.shape[1])
    launch(cell_kernel, (triton.cdiv(cell.numel(), BLOCK),), *tensors, BOTH=more is not None, BLOCK=BLOCK)
    return hidden, new


def group_enhance(
    residual: Tensor, shortcut: Tensor, weight: Tensor, bias: Tensor, eps: float, before: Tensor | None = None
) -> Tensor:
    """ReLU(SGE(residual + before) + shortcut) for weight and bias (groups,), and a bias (C,) of the residual."""
    check(residual, shortcut)
    batch, channels, height, side = residual.shape
    positions, groups = height * side, len(weight)
    width = channels // groups
    columns = triton.next_power_of_2(width)
    tile = {"POSITIONS": max(16, min(triton.next_power_of_2(positions), TILE // columns)), "COLUMNS": columns}
    tensors = (residual, shortcut, weight, bias, residual if before is None else before)
    options = {"BIASED": before is not None, "WIDTH": width, **tile, "num_warps": warps(tile)}
    launch(group_enhance_kernel, (batch, groups), *tensors, positions, channels, max(positions - 1, 1), eps, **options)
    return residual


def launch(kernel: Any, grid: tuple[int, ...], first: Tensor, *arguments: Any, **options: Any) -> None:
    """Launch a kernel on the tensors' device, which need not be the current one."""
    with torch.cuda.device_of(first):
        kernel[grid](first, *arguments, **options)


def warps(tile: dict[str, int]) -> int:
    """1 to 8 warps for a tile, so that a thread has 32 elements or fewer."""
    sizes = list(tile.values())
    return max(1, min(8, sizes[0] * sizes[1] // 1024))


def check(*features: Tensor) -> None:
    """Refuse features that the kernels would misread or give wrong gradients for.

    Raises:
        EANError: for another layout, for shapes that differ, or if gradients are recorded.
    """
    shape = features[0].shape
    for tensor in features:
        if tensor.requires_grad:
            raise EANError("the kernels have no gradients: call the network in torch.inference_mode()")
        if tensor.shape != shape or not tensor.is_contiguous(memory_format=torch.channels_last):
            raise EANError(
                f"the kernels take features of one shape in channels_last, got {tensor.shape}, {tensor.stride()}"
            )
