"""Spatial Group-wise Enhance (https://arxiv.org/abs/1905.09646)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ean_core.attention.base import Attention, State
from ean_core.attention.functional import add_scaled, channel_means
from ean_core.deploy.fused_attention import Joined
from ean_core.utils.errors import EANError


class SpatialGroupEnhance(Attention):
    """Spatial mask per channel group: how much each position agrees with the group's mean.

    Args:
        channels: C of the residual (B, C, H, W).
        groups: number of groups, a divisor of `channels` (the paper: 64 on ImageNet, 8 on CIFAR).
    """

    eps = 1e-5  # added to the standard deviation, as in the released code

    def __init__(self, channels: int, *, groups: int = 64) -> None:
        super().__init__()
        if channels % groups:
            raise EANError(f"sge: {channels} channels cannot be divided into {groups} groups: give a divisor")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(groups))
        self.bias = nn.Parameter(torch.ones(groups))

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C, H, W) mask, the same for all channels of a group; no state."""
        mask = self.group_mask(residual)
        return mask.expand(-1, -1, residual.shape[1] // self.groups, -1, -1).flatten(1, 2), state

    def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
        """As the base, group by group: a mask as large as the residual would be another pass over it."""
        grouped = residual.unflatten(1, (self.groups, -1))  # (B, groups, C / groups, H, W), a view
        return (grouped * self.group_mask(residual)).flatten(1, 2), state

    def merge(self, residual: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """As the base, group by group."""
        if type(self) is not SpatialGroupEnhance:  # a subclass may compute something else
            return super().merge(residual, shortcut, state)
        return self.merged(residual, shortcut, self.group_mask(residual)), state

    def joined(self, convolutions: Sequence[nn.Conv2d]) -> Sequence[Joined] | None:
        """With the agreement taken of the convolutions' inputs; see `Joined`."""
        if type(self) is not SpatialGroupEnhance:
            return None
        return [JoinedGroups(self, one) for one in convolutions]

    def merged(self, residual: Tensor, shortcut: Tensor, mask: Tensor) -> Tensor:
        """ReLU(shortcut + mask * residual) for a mask (B, groups, 1, H, W); overwrites the residual."""
        width = residual.shape[1] // self.groups
        if torch.compiler.is_compiling() and not residual.is_contiguous():
            # The positions in front, as they are in memory: the loops that are made of it are shorter, and what comes
            # out lies as the next convolution takes it.
            rows, added = (one.permute(0, 2, 3, 1).unflatten(3, (self.groups, -1)) for one in (residual, shortcut))
            merged = add_scaled(added, rows, mask.permute(0, 3, 4, 1, 2)).relu_()
            return merged.flatten(3).permute(0, 3, 1, 2)
        if residual.dtype != torch.float32 and width < 32:  # no kernel is made for broadcasting along so few channels
            return add_scaled(shortcut, residual, self.repeated(mask, width)).relu_()
        grouped, added = (one.unflatten(1, (self.groups, -1)) for one in (residual, shortcut))
        return add_scaled(added, grouped, mask).relu_().flatten(1, 2)

    def repeated(self, mask: Tensor, width: int) -> Tensor:
        """(B, groups, 1, H, W) -> (B, groups * width, H, W) in channels_last: the mask of each channel's group."""
        positions = mask[:, :, 0].permute(0, 2, 3, 1)  # (B, H, W, groups)
        # A product with ones and zeros: faster than repeating so few at a time.
        ones = torch.eye(self.groups, dtype=mask.dtype, device=mask.device).repeat_interleave(width, dim=1)
        return (positions @ ones).permute(0, 3, 1, 2)

    def group_mask(self, residual: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, groups, 1, H, W), in the residual's layout."""
        return self.mask_of(self.agreement(residual), like=residual)

    def agreement(self, residual: Tensor) -> Tensor:
        """(B, groups, H*W), the product of every position's features with their mean over the positions."""
        # In float32: under autocast the agreement would lose the small differences that are normalised below.
        with torch.autocast(residual.device.type, enabled=False):
            features = residual.float()
            grouped = features.unflatten(1, (self.groups, -1)).flatten(3)  # (B, groups, C / groups, H*W), a view
            means = channel_means(features).unflatten(1, (self.groups, -1))  # (B, groups, C / groups)
            if residual.is_contiguous():
                return (grouped * means[..., None]).sum(dim=2)
            # channels_last: so few neighbours are summed faster by a product with rows that are zero elsewhere.
            own = torch.eye(self.groups, dtype=means.dtype, device=means.device)[:, :, None]
            return torch.bmm((means[:, None] * own).flatten(2), features.flatten(2))  # (B, groups, C), (B, C, H*W)

    def mask_of(self, agreement: Tensor, *, like: Tensor) -> Tensor:
        """(B, groups, H*W) -> (B, groups, 1, H, W), in the layout and type of `like` (B, C, H, W)."""
        batch, _, height, width = like.shape
        with torch.autocast(like.device.type, enabled=False):
            centred = agreement - agreement.mean(dim=2, keepdim=True)
            # The unbiased standard deviation, as in the released code, from the norm: `std` takes a hundred times as
            # long on a CPU, and has no gradient on a 1x1 map, which has no spread: its mask is sigmoid(bias).
            spread = torch.linalg.vector_norm(centred, dim=2, keepdim=True) / root(max(height * width - 1, 1))
            score = torch.addcmul(self.bias[:, None].float(), centred, self.weight[:, None] / (spread + self.eps))
            mask = score.sigmoid().to(like.dtype).view(batch, self.groups, height, width)
        if not (like.is_contiguous() or torch.compiler.is_compiling()):
            mask = mask.contiguous(memory_format=torch.channels_last)
        return mask[:, :, None]


class JoinedGroups(Joined):
    """Spatial Group-wise Enhance joined to the convolution w before it.

    A group's agreement, mean . (w x + b), is (mean . w) x and a constant that the normalisation takes out: one product
    of matrices over the features x that the convolution takes.
    """

    def __init__(self, attention: SpatialGroupEnhance, convolution: nn.Conv2d) -> None:
        super().__init__(convolution)
        self.attention = attention

    def forward(self, narrow: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """As the base, group by group."""
        residual = self.convolution(narrow)
        mask = self.attention.mask_of(self.agreement(narrow), like=residual)
        return self.attention.merged(residual, shortcut, mask), state

    def agreement(self, narrow: Tensor) -> Tensor:
        """(B, C', H, W) -> (B, groups, H*W), but for a constant."""
        with torch.autocast(narrow.device.type, enabled=False):
            rows = rows_of(narrow, self.convolution, lambda one: one.unflatten(0, (self.attention.groups, -1)))
            return torch.bmm(rows, narrow.float().flatten(2))


def rows_of(narrow: Tensor, convolution: nn.Conv2d, apart: Callable[[Tensor], Tensor]) -> Tensor:
    """What a position's features are multiplied with for the agreement of every group: (B, groups, C').

    Args:
        narrow: what the 1x1 convolution takes, (B, C', H, W).
        convolution: that makes the residuals, (B, C, H, W).
        apart: (C, ..) -> (groups, C / groups, ..), by where the channels of a group are.
    """
    weight = convolution.weight.float().flatten(1)  # (C, C')
    bias = None if convolution.bias is None else convolution.bias.float()
    means = F.linear(channel_means(narrow).float(), weight, bias)  # (B, C)
    return torch.bmm(apart(means.t()).transpose(1, 2), apart(weight)).transpose(0, 1)


def root(number: int | torch.SymInt) -> float | Tensor:
    """The square root; of a number that an export leaves open a tensor, as a .pt2 file holds no such float."""
    return torch.scalar_tensor(number).sqrt() if isinstance(number, torch.SymInt) else number**0.5
