"""SGE with interleaved groups: the masks of the groups lie side by side, as a processor's vectors take them.

A group of few channels, 4 to 8 in the first stages, fills only a part of a vector, and a compiled loop over it loads
and stores each part on its own. With the first channels of all groups in front, then all the second ones, and so on, a
vector of residuals meets a vector of masks. The order of a stage's channels is free as long as all that reads and
writes them agrees (`ean_core.deploy.channel_order`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention import SpatialGroupEnhance, State
from ean_core.attention.sge import at_least_float32, root
from ean_core.deploy.functional import add_scaled
from ean_core.deploy.fused_attention import FusedAttention
from ean_core.deploy.sge_tails import agreement_rows


def interleaved_order(channels: int, groups: int) -> Tensor:
    """int64 (channels,): which channel of the usual order stands where, the first of every group in front."""
    return torch.arange(channels).view(groups, -1).t().flatten()


def deinterleave(features: Tensor, groups: int) -> Tensor:
    """(B, C, H, W) in the interleaved order -> the same in the usual one, in channels_last."""
    by_position = features.permute(0, 2, 3, 1).unflatten(3, (-1, groups))  # (B, H, W, C / groups, groups)
    return by_position.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)


class InterleavedSpatialGroupEnhance(FusedAttention):
    """`FusedSpatialGroupEnhance` for residuals and shortcuts in the interleaved order.

    Args:
        attention: where the weights come from.
        convolution: 1x1, its outputs in the interleaved order.
        repeats: how often the masks of all groups are made side by side, to fill a vector; a divisor of the channels
            per group.
    """

    def __init__(self, attention: SpatialGroupEnhance, convolution: nn.Conv2d, repeats: int) -> None:
        super().__init__(attention, convolution)
        self.groups, self.eps, self.repeats = attention.groups, attention.eps, repeats
        # Stored as they lie beside the masks; repeated where they are used, they would be gathered number by number.
        self.weight, self.bias = (
            nn.Parameter(at_least_float32(values.detach()).repeat(repeats))
            for values in (attention.weight, attention.bias)
        )

    def forward(self, features: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """See `BlockTail`; a vector of groups at a time."""
        mask = self.group_masks(features)[:, :, None]  # (B, H*W, 1, repeats * groups)
        size, columns = features.shape[2:], mask.shape[-1]
        residual, added = (
            x.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (-1, columns))
            for x in (self.convolution(features), shortcut)
        )  # (B, H*W, C / columns, columns)
        out = torch.relu_(add_scaled(added, residual, mask))
        return out.flatten(2).unflatten(1, size).permute(0, 3, 1, 2), state

    def group_masks(self, hidden: Tensor) -> Tensor:
        """(B, C', H, W) -> (B, H*W, repeats * groups), in the type of `hidden`; see `SpatialGroupEnhance.mask_of`."""
        height, width = hidden.shape[2:]
        with torch.autocast(hidden.device.type, enabled=False):
            agreement = self.agreement(hidden)
            # Products by reciprocals: a compiler would repeat these small quotients at every position.
            centered = agreement - agreement.sum(dim=1, keepdim=True) * (1 / (height * width))
            std = torch.linalg.vector_norm(centered, dim=1, keepdim=True) * (1 / root(max(height * width - 1, 1)))
            score = torch.addcmul(self.bias, centered, self.weight / (std + self.eps))
            return score.sigmoid().to(hidden.dtype)

    def agreement(self, hidden: Tensor) -> Tensor:
        """(B, C', H, W) -> (B, H*W, repeats * groups), up to a constant; see `FusedSpatialGroupEnhance`."""
        rows = agreement_rows(
            hidden, self.convolution, lambda channels: channels.unflatten(0, (-1, self.groups)).transpose(0, 1)
        )
        positions = at_least_float32(hidden.permute(0, 2, 3, 1).flatten(1, 2))  # (B, H*W, C')
        return torch.bmm(positions, rows.transpose(1, 2).repeat(1, 1, self.repeats))
