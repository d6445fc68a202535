"""SGE's groups interleaved: their masks lie beside each other as a processor's vectors take them.

A group of few channels, 4 to 8 in the first stages, fills a part of a vector only, and a compiled loop over it loads
and stores each part on its own. With the first channels of all groups in front, then all the second ones, a vector of
residuals meets a vector of masks. The order of a stage's channels is free as long as all that reads and writes them
agrees (`ean_core.deploy.channel_order`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.attention.base import State
from ean_core.attention.functional import add_scaled
from ean_core.attention.sge import SpatialGroupEnhance, root, rows_of
from ean_core.deploy.fused_attention import Joined


def interleaved_order(channels: int, groups: int) -> Tensor:
    """int64 (channels,): which channel of the usual order stands where, the first of every group in front."""
    return torch.arange(channels).view(groups, -1).t().flatten()


def side_by_side(features: Tensor, groups: int) -> Tensor:
    """(B, C, H, W) in the interleaved order -> the same in the usual one, in channels_last."""
    last = features.permute(0, 2, 3, 1).unflatten(3, (-1, groups))
    return last.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)


class InterleavedGroups(Joined):
    """As `ean_core.attention.sge.JoinedGroups`, for residuals and shortcuts in the interleaved order.

    Args:
        attention: where the weights are from.
        convolution: 1x1, whose outputs are in the interleaved order.
        repeats: how often the groups' masks are made beside each other, to fill a vector; a divisor of the channels of
            a group.
    """

    def __init__(self, attention: SpatialGroupEnhance, convolution: nn.Conv2d, repeats: int) -> None:
        super().__init__(convolution)
        self.groups, self.eps, self.repeats = attention.groups, attention.eps, repeats
        # As they lie beside the masks; repeated where they are used, they would be gathered number by number.
        self.weight, self.bias = (
            nn.Parameter(one.detach().float().repeat(repeats)) for one in (attention.weight, attention.bias)
        )

    def forward(self, narrow: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """As the base, a vector of groups at a time."""
        mask = self.group_masks(narrow)[:, :, None]  # (B, H*W, 1, repeats * groups)
        size, columns = narrow.shape[2:], mask.shape[-1]
        residual, added = (
            one.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (-1, columns))
            for one in (self.convolution(narrow), shortcut)
        )
        merged = add_scaled(added, residual, mask).relu_()
        return merged.flatten(2).unflatten(1, size).permute(0, 3, 1, 2), state

    def group_masks(self, narrow: Tensor) -> Tensor:
        """(B, C', H, W) -> (B, H*W, repeats * groups), in the type of `narrow`; see `SpatialGroupEnhance.mask_of`."""
        height, width = narrow.shape[2:]
        with torch.autocast(narrow.device.type, enabled=False):
            agreement = self.agreement(narrow)
            # A compiler repeats these small quotients at every position: products are faster.
            centred = agreement - agreement.sum(dim=1, keepdim=True) * (1 / (height * width))
            spread = torch.linalg.vector_norm(centred, dim=1, keepdim=True) * (1 / root(max(height * width - 1, 1)))
            score = torch.addcmul(self.bias, centred, self.weight / (spread + self.eps))
            return score.sigmoid().to(narrow.dtype)

    def agreement(self, narrow: Tensor) -> Tensor:
        """(B, C', H, W) -> (B, H*W, repeats * groups), but for a constant; see `JoinedGroups`."""
        rows = rows_of(narrow, self.convolution, lambda one: one.unflatten(0, (-1, self.groups)).transpose(0, 1))
        positions = narrow.permute(0, 2, 3, 1).flatten(1, 2).float()  # (B, H*W, C')
        return torch.bmm(positions, rows.transpose(1, 2).repeat(1, 1, self.repeats))
