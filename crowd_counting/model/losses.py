"""Losses for predicted density maps: mean squared error, Bayesian loss, DM-Count, Poisson and zero-inflated counts.

Each takes the density (B, h, w) in heads per cell, zero in the padding, or a zero-inflated head's distribution, and a
`Target`. A batch's loss is the mean of its images' losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from crowd_counting.density import render_batch
from crowd_counting.model.zero_inflated import ZeroInflated
from ean_core.utils.checked_dataclasses import Range
from ean_core.utils.errors import EANError

MAX_BLOCK = 8192  # pixels


@dataclass(frozen=True)
class Target:
    """The ground truth of a batch.

    Attributes:
        points: points of each image, float32 (N_i, 2), x and y in pixels.
        sizes: int64 (B, 2), (H, W) of each image without its padding.
        stride: pixels per cell.
        sigmas: standard deviations of each image's points, float32 (N_i,), pixels; None for dots.
        density: cached maps (B, h, w); None to render them.
    """

    points: Sequence[Tensor]
    sizes: Tensor
    stride: int
    sigmas: Sequence[Tensor] | None = None
    density: Tensor | None = None

    def maps(self, shape: torch.Size) -> Tensor:
        """Density maps of this shape, cached or rendered, float32 (B, h, w)."""
        return self.render(shape, self.sigmas) if self.density is None else self.density

    def dots(self, shape: torch.Size) -> Tensor:
        """Number of heads in each cell, float32 (B, h, w)."""
        return self.render(shape, None)

    def render(self, shape: torch.Size, sigmas: Sequence[Tensor] | None) -> Tensor:
        """Render maps of shape (B, h, w)."""
        pixels = (shape[1] * self.stride, shape[2] * self.stride)
        return render_batch(self.points, self.sizes, sigmas, shape=pixels, stride=self.stride)


class Loss(Protocol):
    """Interface of the losses.

    Attributes:
        takes_maps: whether the loss compares maps, which may then come from a cache.
        zero_inflated: whether it takes a `ZeroInflated` in place of a density.
    """

    takes_maps: ClassVar[bool]
    zero_inflated: ClassVar[bool]

    def __call__(self, density: Tensor, target: Target) -> Tensor: ...


@dataclass(frozen=True)
class ScaledMSE:
    """Mean squared error between the maps, both multiplied by `scale`: the usual choice, and presumably the paper's.

    The mean is over the cells inside the images, so that padding does not dilute it.
    """

    scale: Annotated[float, Range(1e-6, 1e6)] = 100.0
    takes_maps: ClassVar[bool] = True
    zero_inflated: ClassVar[bool] = False

    def __call__(self, density: Tensor, target: Target) -> Tensor:
        cells = (-(-target.sizes // target.stride)).prod(dim=1).sum()
        error = self.scale * (density - target.maps(density.shape))
        return error.square().sum() / cells


@dataclass(frozen=True)
class Bayesian:
    """Bayesian Loss for Crowd Count Estimation with Point Supervision (https://arxiv.org/abs/1908.03684), "Bayes+".

    Every cell belongs to each head with a posterior probability, from Gaussians around the heads, and to the
    background with that of a dummy point at distance d from the nearest head, on the line through the cell. The
    expected count of every head should be 1, and that of the background 0. The released code departs from the paper
    with d^2 / distance^2 in place of the dummy's squared distance (d - distance)^2; this follows the paper.

    Attributes:
        sigma: standard deviation of the likelihood, pixels.
        background: d, as a fraction of the image's shorter side.
    """

    sigma: Annotated[float, Range(1e-3, 1e4)] = 8.0
    background: Annotated[float, Range(0, 1e4)] = 0.15
    takes_maps: ClassVar[bool] = False
    zero_inflated: ClassVar[bool] = False

    def __call__(self, density: Tensor, target: Target) -> Tensor:
        losses = []
        for number, points in enumerate(target.points):
            cells, values = image_cells(density, target, number)
            if not len(points):
                losses.append(values.sum())  # everything is background
                continue
            squared = squared_distances(points, cells)  # (N, M)
            gap = self.background * target.sizes[number].min() - squared.min(dim=0).values.sqrt()
            logits = -torch.cat([squared, gap.square()[None]]) / (2 * self.sigma**2)  # (N + 1, M)
            expected = logits.softmax(dim=0) @ values  # (N + 1,)
            losses.append((expected[:-1] - 1).abs().sum() + expected[-1].abs())
        return torch.stack(losses).mean()


@dataclass(frozen=True)
class DMCount:
    """Distribution Matching for Crowd Counting (https://arxiv.org/abs/2009.13077), with its default settings.

    |count difference| + lambda_1 * optimal transport between the normalized maps + lambda_2 * count * total variation
    between them. Optimal transport uses Sinkhorn iterations in the log domain, which avoids over- and underflow.

    Attributes:
        transport: lambda_1, the weight of optimal transport.
        variation: lambda_2, the weight of total variation.
        entropy: strength of the entropic regularization, in squared pixels.
        iterations: number of Sinkhorn iterations.
    """

    transport: Annotated[float, Range(0, 1e6)] = 0.1
    variation: Annotated[float, Range(0, 1e6)] = 0.01
    entropy: Annotated[float, Range(1e-3, 1e6)] = 10.0
    iterations: Annotated[int, Range(1, 100_000)] = 100
    takes_maps: ClassVar[bool] = False
    zero_inflated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.entropy <= 0 or self.iterations < 1:
            raise EANError(f"dm_count needs entropy > 0 and iterations >= 1, got {self.entropy} and {self.iterations}")

    def __call__(self, density: Tensor, target: Target) -> Tensor:
        dots, losses = target.dots(density.shape), []
        for number, points in enumerate(target.points):
            cells, values = image_cells(density, target, number)
            count, total = len(points), values.sum()
            loss = (total - count).abs()
            if count:
                share = values / total
                cost = squared_distances(points, cells)  # (N, M)
                alpha, beta = sinkhorn(cost, share.detach(), entropy=self.entropy, iterations=self.iterations)
                # The dual form of the cost: its gradient with respect to the map is the potential beta.
                loss = loss + self.transport * (alpha.mean() + (beta * share).sum())
                _, truth = image_cells(dots, target, number)
                loss = loss + self.variation * count * 0.5 * (truth / count - share).abs().sum()
            losses.append(loss)
        return torch.stack(losses).mean()


@dataclass(frozen=True)
class PoissonCounts:
    """Negative log-likelihood of Poisson counts in square blocks, plus the absolute error of the image's count.

    Per block, with the density's sum y_hat and y heads: y_hat - y log y_hat, minus its minimum y - y log y, so that a
    perfect map has loss 0. Summed over the blocks of all sizes: the larger a block, the more misplaced heads are
    forgiven. A Poisson count's variance is its mean, so that dense blocks do not drown the sparse ones as they do in a
    squared error.

    Attributes:
        blocks: sides of the blocks in pixels, each a multiple of the stride.
        count_weight: weight of the absolute count error.
    """

    blocks: tuple[int, ...] = (16, 64)
    count_weight: Annotated[float, Range(0, 1e6)] = 1.0
    takes_maps: ClassVar[bool] = False
    zero_inflated: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_blocks(self.blocks)

    def __call__(self, density: Tensor, target: Target) -> Tensor:
        dots = target.dots(density.shape)
        loss = self.count_weight * (density - dots).sum(dim=(1, 2)).abs()  # (B,)
        for side in self.blocks:
            if side % target.stride:
                raise EANError(f"a block of {side} pixels is not a multiple of the map's stride of {target.stride}")
            predicted, heads = (block_sums(maps, side // target.stride) for maps in (density, dots))
            loss = loss + poisson_deviance(predicted, heads).sum(dim=(1, 2))
        return loss.mean()


@dataclass(frozen=True)
class ZeroInflatedCounts:
    """Negative log-likelihood of zero-inflated Poisson counts in the cells, plus `PoissonCounts` of expected counts.

    With pi and lambda of a cell and y heads in it, the likelihood is

        P(0) = pi + (1 - pi) exp(-lambda),    P(y) = (1 - pi) exp(-lambda) lambda^y / y!    for y > 0,

    as in ZIP (https://arxiv.org/abs/2506.19955); the Poisson part has its minimum subtracted, so that a perfect map has
    loss 0. The expected count (1 - pi) lambda is compared in larger blocks and as a whole. Needs
    model.zero_inflated=True.

    Attributes:
        blocks: sides of the larger blocks in pixels, each a multiple of the stride.
        count_weight: weight of the absolute count error.
    """

    blocks: tuple[int, ...] = (64,)
    count_weight: Annotated[float, Range(0, 1e6)] = 1.0
    takes_maps: ClassVar[bool] = False
    zero_inflated: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_blocks(self.blocks)

    def __call__(self, maps: ZeroInflated, target: Target) -> Tensor:
        heads = target.dots(maps.rate.shape)
        possible = F.logsigmoid(-maps.logit)  # log(1 - pi)
        nobody = -torch.logaddexp(F.logsigmoid(maps.logit), possible - maps.rate)
        somebody = poisson_deviance(maps.rate, heads) - possible
        cells = torch.where(heads > 0, somebody, nobody).sum(dim=(1, 2))
        return cells.mean() + PoissonCounts(self.blocks, self.count_weight)(maps.expected(), target)


def poisson_deviance(predicted: Tensor, heads: Tensor) -> Tensor:
    """Negative log-likelihood of Poisson counts, minus its minimum."""
    return predicted - heads - torch.xlogy(heads, predicted.clamp(min=1e-6) / heads.clamp(min=1e-6))


def check_blocks(blocks: tuple[int, ...]) -> None:
    """Check the sides of a loss's blocks, in pixels.

    Raises:
        EANError: if there are none, or one is too small or too large.
    """
    if not blocks or min(blocks) < 1 or max(blocks) > MAX_BLOCK:
        raise EANError(f"a Poisson loss needs blocks of 1 to {MAX_BLOCK} pixels, got {blocks}")


def block_sums(maps: Tensor, side: int) -> Tensor:
    """Sums over blocks of side x side cells, (B, h, w) -> (B, ceil(h / side), ceil(w / side))."""
    height, width = maps.shape[1:]
    padded = F.pad(maps, (0, -width % side, 0, -height % side))
    return F.avg_pool2d(padded[:, None], side)[:, 0] * side**2


LOSSES: dict[str, type] = {
    "mse": ScaledMSE,
    "bayesian": Bayesian,
    "dm_count": DMCount,
    "poisson": PoissonCounts,
    "zero_inflated": ZeroInflatedCounts,
}


def image_cells(maps: Tensor, target: Target, number: int) -> tuple[Tensor, Tensor]:
    """The cells inside image `number`: centers (M, 2) as x, y in pixels, and values (M,)."""
    height, width = (-(-side // target.stride) for side in target.sizes[number].tolist())
    values = maps[number, :height, :width]
    first = (target.stride - 1) / 2  # the center of pixels 0 to stride - 1
    y = torch.arange(height, device=maps.device) * target.stride + first
    x = torch.arange(width, device=maps.device) * target.stride + first
    centers = torch.stack(torch.broadcast_tensors(x[None], y[:, None]), dim=2)  # (height, width, 2)
    return centers.reshape(-1, 2), values.reshape(-1)


def squared_distances(points: Tensor, cells: Tensor) -> Tensor:
    """Squared distances (N, M) between points (N, 2) and cell centers (M, 2), in squared pixels."""
    x, y = (points[:, axis, None] - cells[:, axis] for axis in (0, 1))
    return x.square() + y.square()


@torch.no_grad()
def sinkhorn(cost: Tensor, share: Tensor, *, entropy: float, iterations: int) -> tuple[Tensor, Tensor]:
    """Dual potentials of the optimal transport between N heads of mass 1 / N and a map of sum 1.

    Args:
        cost: (N, M), cost of moving unit mass from a head to a cell.
        share: (M,), the map normalized to sum 1.
        entropy: strength of the regularization, in units of the cost.
        iterations: number of alternating projections (https://arxiv.org/abs/1306.0895).

    Returns:
        alpha (N,) and beta (M,), in units of the cost: alpha.mean() + <beta, share> is the transport cost, up to the
        regularization.
    """
    log_share = share.clamp(min=1e-12).log()
    kernel = -cost / entropy
    beta = torch.zeros_like(log_share)
    for _ in range(iterations):
        alpha = -math.log(len(cost)) - torch.logsumexp(kernel + beta, dim=1)
        beta = log_share - torch.logsumexp(kernel + alpha[:, None], dim=0)
    return entropy * alpha, entropy * beta
