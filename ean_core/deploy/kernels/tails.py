"""Tails and activations that run in the Triton kernels: the backend "triton" of `ean_core.deploy.tail_registry`.

A GPU's convolutions leave their bias to another kernel, which reads and writes all features once more. Here it is added
where they are read anyway: with the ReLU after the first convolutions of a block, and in the tail after the last one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ean_core.attention import DenseImplicitAttention, SpatialGroupEnhance, SqueezeExcitation, State
from ean_core.attention.base import ChannelAttention
from ean_core.deploy.block_tails import AdditionTail, AttentionTail, ChannelAttentionTail
from ean_core.deploy.fused_attention import (
    FusedAttention,
    FusedChannelAttention,
    FusedDenseImplicitAttention,
    FusedSqueezeExcitation,
    initial_state,
)
from ean_core.deploy.kernels import triton_kernels
from ean_core.deploy.tail_registry import TAILS, UNCONNECTED, Tails

# -- tails that take the residual ----------------------------------------------------------------------------------


class KernelAddition(AdditionTail):
    """Addition and activation in one kernel."""

    def forward(self, features: Tensor, shortcut: Tensor | None, state: State = None) -> tuple[Tensor, State]:
        """ReLU(features + shortcut), and the state unchanged; see `BlockTail.forward`."""
        if shortcut is None:
            return super().forward(features, shortcut, state)
        return triton_kernels.add_relu(features, shortcut), state


class KernelAttention(AttentionTail):
    """Base of the tails of connected blocks; a subclass implements `add_recalibrated`."""

    def forward(self, features: Tensor, shortcut: Tensor | None, state: State = None) -> tuple[Tensor, State]:
        """`add_recalibrated`, or PyTorch's operations for a block without shortcut; see `BlockTail.forward`."""
        if shortcut is None:
            return super().forward(features, shortcut, state)
        return self.add_recalibrated(features, shortcut, state)

    def add_recalibrated(self, residual: Tensor, shortcut: Tensor, state: State) -> tuple[Tensor, State]:
        """ReLU(shortcut + M(residual) * residual), in the place of `residual`, and the state after it."""
        raise NotImplementedError


class KernelSqueezeExcitation(KernelAttention):
    """SE in three kernels, of which the second is as small as its layers."""

    def add_recalibrated(self, residual: Tensor, shortcut: Tensor, state: State) -> tuple[Tensor, State]:
        """See `KernelAttention`; SE has no state."""
        means, squeeze, excite = triton_kernels.channel_means(residual), self.attention.squeeze, self.attention.excite
        if triton_kernels.excites(squeeze.weight, excite.weight):
            mask = triton_kernels.excite(means, squeeze.weight, squeeze.bias, excite.weight, excite.bias)
        else:
            mask, _ = self.attention.mask_of(means.to(residual.dtype), None)
        return triton_kernels.scale_add_relu(residual, mask, shortcut), state


class KernelDenseImplicitAttention(KernelAttention):
    """DIA, with the arithmetic of the gates in one kernel."""

    def add_recalibrated(self, residual: Tensor, shortcut: Tensor, state: State) -> tuple[Tensor, State]:
        """See `KernelAttention`; the mask is also the hidden vector of the cell."""
        means = triton_kernels.channel_means(residual).to(residual.dtype)  # (B, C)
        vector, cell = initial_state(means, means.shape[1]) if state is None else state
        vector, cell = triton_kernels.cell(self.attention.from_input(means), cell, self.attention.from_hidden(vector))
        return triton_kernels.scale_add_relu(residual, vector, shortcut), (vector, cell)


class KernelSpatialGroupEnhance(KernelAttention):
    """SGE with addition and activation in one kernel."""

    def add_recalibrated(self, residual: Tensor, shortcut: Tensor, state: State) -> tuple[Tensor, State]:
        """See `KernelAttention`; SGE has no state."""
        sge = self.attention
        return triton_kernels.group_enhance(residual, shortcut, sge.weight, sge.bias, sge.eps), state


# -- tails that take the input of the last convolution -------------------------------------------------------------


class KernelFusedAddition(FusedAttention):
    """The tail of a bottleneck that is not connected, the bias of its last convolution added in the kernel."""

    def forward(self, features: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """See `BlockTail`; the state passes through."""
        residual, bias = without_bias(self.convolution, features)
        return triton_kernels.add_relu(residual, shortcut, bias), state


class KernelFused(FusedAttention):
    """Base of the tails of connected bottlenecks: product, sum, bias and activation in one kernel."""

    def forward(self, features: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """ReLU(mask * convolution(features) + shortcut), and the next state; see `BlockTail.forward`."""
        mask, state = self.mask(features, state)
        residual, bias = without_bias(self.convolution, features)
        return triton_kernels.scale_add_relu(residual, mask, shortcut, bias), state


class KernelFusedChannelAttention(KernelFused, FusedChannelAttention):
    """Any attention whose mask depends on the channel means alone."""


class KernelFusedSqueezeExcitation(KernelFused, FusedSqueezeExcitation):
    """SE: the means are a kernel, and both layers another where they are small enough."""

    def mask(self, hidden: Tensor, state: State) -> tuple[Tensor, State]:
        """See `FusedAttention`; SE has no state."""
        means, squeeze, excite = triton_kernels.channel_means(hidden), self.squeeze, self.excite
        if not triton_kernels.excites(squeeze.weight, excite.weight):
            return self.mask_of(means.to(hidden.dtype)), state
        return triton_kernels.excite(means, squeeze.weight, squeeze.bias, excite.weight, excite.bias), state


class KernelFusedDenseImplicitAttention(KernelFused, FusedDenseImplicitAttention):
    """DIA: the means, and the arithmetic of the gates, are a kernel each."""

    def mask(self, hidden: Tensor, state: State) -> tuple[Tensor, State]:
        """See `FusedAttention`; the mask is also the hidden vector of the cell."""
        means = triton_kernels.channel_means(hidden).to(hidden.dtype)
        vector, cell = initial_state(means, self.convolution.out_channels) if state is None else state
        vector, cell = triton_kernels.cell(self.gate_values(means, vector), cell)
        return vector, (vector, cell)


class KernelFusedSpatialGroupEnhance(FusedAttention):
    """SGE: one kernel after the convolution."""

    def __init__(self, attention: SpatialGroupEnhance, convolution: nn.Conv2d) -> None:
        super().__init__(attention, convolution)
        self.attention = attention

    def forward(self, features: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """See `BlockTail`; SGE has no state."""
        sge, (residual, bias) = self.attention, without_bias(self.convolution, features)
        return triton_kernels.group_enhance(residual, shortcut, sge.weight, sge.bias, sge.eps, bias), state


def without_bias(convolution: nn.Conv2d, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
    """The output of a 1x1 convolution without its bias, and the bias."""
    return F.conv2d(hidden, convolution.weight), convolution.bias


TAILS.update(
    {
        ("triton", UNCONNECTED): Tails(lambda _: KernelAddition(), KernelFusedAddition.for_blocks),
        ("triton", SqueezeExcitation): Tails(KernelSqueezeExcitation, KernelFusedSqueezeExcitation.for_blocks),
        ("triton", SpatialGroupEnhance): Tails(KernelSpatialGroupEnhance, KernelFusedSpatialGroupEnhance.for_blocks),
        ("triton", DenseImplicitAttention): Tails(
            KernelDenseImplicitAttention, KernelFusedDenseImplicitAttention.for_blocks
        ),
        ("triton", ChannelAttention): Tails(ChannelAttentionTail, KernelFusedChannelAttention.for_blocks),
    }
)


# -- inside the blocks ---------------------------------------------------------------------------------------------


class BiasReLU(nn.Module):
    """In the place of a folded batch norm: the convolution's bias, and the activation after it."""

    def __init__(self, bias: nn.Parameter) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """ReLU(x + bias) for x (B, C, H, W), which is overwritten."""
        return triton_kernels.bias_relu(x, self.bias)


def move_biases(owner: nn.Module, count: int) -> None:
    """Let bn1, bn2, ... of a folded block or stem add the biases of conv1, conv2, ... and activate; in place.

    Nothing is done where the activation is not ReLU, or something else follows a convolution.

    Args:
        owner: a block, or a network for its stem.
        count: how many of its convolutions an activation follows.
    """
    pairs = [(getattr(owner, f"conv{n}"), getattr(owner, f"bn{n}")) for n in range(1, count + 1)]
    if type(owner.relu) is not nn.ReLU or not all(c.bias is not None and type(b) is nn.Identity for c, b in pairs):
        return
    for number, (convolution, _) in enumerate(pairs, start=1):
        setattr(owner, f"bn{number}", BiasReLU(convolution.bias))
        convolution.bias = None
    owner.relu = nn.Identity()
