"""Which tails (`ean_core.deploy.block_tails`) close the blocks of a network that is done training.

Fast tails belong to the exact type of an attention: a subclass may compute something else, and gets the generic ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from ean_core.attention import Attention, DenseImplicitAttention, SpatialGroupEnhance, SqueezeExcitation
from ean_core.attention.base import ChannelAttention
from ean_core.deploy.block_tails import AdditionTail, AttentionTail, BlockTail, ChannelAttentionTail
from ean_core.deploy.fused_attention import (
    FusedChannelAttention,
    FusedDenseImplicitAttention,
    FusedSqueezeExcitation,
)
from ean_core.deploy.sge_tails import FusedSpatialGroupEnhance, SpatialGroupTail


@dataclass(frozen=True)
class Tails:
    """How one kind of attention closes blocks that end with ReLU(shortcut + residual).

    Attributes:
        residual: attention -> the tail of any block.
        fused: attention, last convolutions of the folded bottlenecks that share it -> their tails; None where there is
            no fused form.
    """

    residual: Callable[[Attention], BlockTail]
    fused: Callable[[Attention, Sequence[nn.Conv2d]], Sequence[BlockTail]] | None = None


UNCONNECTED = type(None)
"""The key of the tails of blocks that are not connected; they ignore the attention that they are given."""

TAILS: dict[tuple[str, type], Tails] = {
    ("torch", UNCONNECTED): Tails(lambda _: AdditionTail()),
    ("torch", SqueezeExcitation): Tails(ChannelAttentionTail, FusedSqueezeExcitation.for_blocks),
    ("torch", SpatialGroupEnhance): Tails(SpatialGroupTail, FusedSpatialGroupEnhance.for_blocks),
    ("torch", DenseImplicitAttention): Tails(ChannelAttentionTail, FusedDenseImplicitAttention.for_blocks),
    ("torch", ChannelAttention): Tails(ChannelAttentionTail, FusedChannelAttention.for_blocks),
}
"""(backend, type) -> tails; `ChannelAttention` stands for its subclasses that write `mask_of` and nothing else.

`ean_core.deploy.kernels.tails` adds those of the backend "triton".
"""


def find_tails(attention: Attention | None, backend: str) -> Tails:
    """The tails of blocks that are connected to an attention, or to none.

    They are the backend's for its exact type, else PyTorch's, else generic ones.
    """
    for name in (backend, "torch"):
        if (name, type(attention)) in TAILS:
            return TAILS[name, type(attention)]
    if depends_on_means_alone(attention):
        return TAILS.get((backend, ChannelAttention), TAILS["torch", ChannelAttention])
    return Tails(AttentionTail)


def depends_on_means_alone(attention: Attention) -> bool:
    """Whether a class leaves everything but `mask_of` as `ChannelAttention` has it."""
    kind = type(attention)
    return (
        isinstance(attention, ChannelAttention)
        and kind.mask is ChannelAttention.mask
        and kind.forward is Attention.forward
    )
