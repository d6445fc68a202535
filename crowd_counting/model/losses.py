"""What a predicted density map is trained towards: three losses, from the plain to the refined.

Each takes the density (B, h, w) in heads per cell, zero in the padding, and a `Target`. Sums over an image are meant
per image; a batch's loss is the mean over its images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from crowd_counting.density import render_batch
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Target:
    """The truth of a batch.

    Attributes:
        points: of each image, float32 (N_i, 2), x and y in pixels.
        sizes: int64 (B, 2), (H, W) of each image without its padding.
        stride: pixels per cell.
        sigmas: of each image's points, float32 (N_i,), pixels; None for dots.
        density: maps (B, h, w) if they were not to be rendered.
    """

    points: Sequence[Tensor]
    sizes: Tensor
    stride: int
    sigmas: Sequence[Tensor] | None = None
    density: Tensor | None = None

    def maps(self, shape: torch.Size) -> Tensor:
        """Density maps, float32 (B, h, w)."""
        return self.render(shape, self.sigmas) if self.density is None else self.density

    def dots(self, shape: torch.Size) -> Tensor:
        """Heads in each cell, float32 (B, h, w)."""
        return self.render(shape, None)

    def render(self, shape: torch.Size, sigmas: Sequence[Tensor] | None) -> Tensor:
        """Maps of the cells `shape` = (B, h, w)."""
        pixels = (shape[1] * self.stride, shape[2] * self.stride)
        return render_batch(self.points, self.sizes, sigmas, shape=pixels, stride=self.stride)


class Loss(Protocol):
    """What a loss is called with; `takes_maps` says whether it compares maps, which may then come from a cache."""

    takes_maps: ClassVar[bool]

    def __call__(self, density: Tensor, target: Target) -> Tensor: ...


@dataclass(frozen=True)
class ScaledMSE:
    """Mean squared error of the maps, both multiplied by `scale`: the usual choice, and taken for the paper's.

    The mean is over the cells inside the images, so that padding does not dilute it.
    """

    scale: float = 100.0
    takes_maps: ClassVar[bool] = True

    def __call__(self, density: Tensor, target: Target) -> Tensor:
        cells = (-(-target.sizes // target.stride)).prod(dim=1).sum()
        error = self.scale * (density - target.maps(density.shape))
        return error.square().sum() / cells


@dataclass(frozen=True)
class Bayesian:
    """Bayesian Loss for Crowd Count Estimation with Point Supervision (https://arxiv.org/abs/1908.03684), "Bayes+".

    Every cell belongs to each head with a posterior probability, from Gaussians around the heads, and to the
    background with that of a dummy point which lies d further along the line from the nearest head through the cell.
    The expected count of every head is to be 1, and that of the background 0. A departure of the released code, not
    followed: d^2 / distance^2 in place of the dummy's squared distance (d - distance)^2.

    Attributes:
        sigma: of the likelihood, pixels.
        background: d, as a share of the image's shorter side.
    """

    sigma: float = 8.0
    background: float = 0.15
    takes_maps: ClassVar[bool] = False

    def __call__(self, density: Tensor, target: Target) -> Tensor:
        losses = []
        for number, points in enumerate(target.points):
            cells, values = image_cells(density, target, number)
            if not len(points):
                losses.append(values.sum())  # all of it is background
                continue
            squared = squared_distances(points, cells)  # (N, M)
            gap = self.background * target.sizes[number].min() - squared.min(dim=0).values.sqrt()
            logits = -torch.cat([squared, gap.square()[None]]) / (2 * self.sigma**2)  # (N + 1, M)
            expected = logits.softmax(dim=0) @ values  # (N + 1,)
            losses.append((expected[:-1] - 1).abs().sum() + expected[-1].abs())
        return torch.stack(losses).mean()


@dataclass(frozen=True)
class DMCount:
    """Distribution Matching for Crowd Counting (https://arxiv.org/abs/2009.13077), with its settings.

    |count difference| + lambda_1 * optimal transport between the normalized maps + lambda_2 * count * total variation
    between them. The transport is Sinkhorn's, here on logarithms, which neither overflow nor underflow.

    Attributes:
        transport: lambda_1.
        variation: lambda_2.
        entropy: of Sinkhorn's regularisation, in squared pixels.
        iterations: of Sinkhorn.
    """

    transport: float = 0.1
    variation: float = 0.01
    entropy: float = 10.0
    iterations: int = 100
    takes_maps: ClassVar[bool] = False

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
                # The dual form of the cost, whose gradient with respect to the map is the potential beta.
                loss = loss + self.transport * (alpha.mean() + (beta * share).sum())
                _, truth = image_cells(dots, target, number)
                loss = loss + self.variation * count * 0.5 * (truth / count - share).abs().sum()
            losses.append(loss)
        return torch.stack(losses).mean()


LOSSES: dict[str, type] = {"mse": ScaledMSE, "bayesian": Bayesian, "dm_count": DMCount}


def image_cells(maps: Tensor, target: Target, number: int) -> tuple[Tensor, Tensor]:
    """The cells inside image `number`: their centres (M, 2) as x, y in pixels, and their values (M,)."""
    height, width = (-(-side // target.stride) for side in target.sizes[number].tolist())
    values = maps[number, :height, :width]
    first = (target.stride - 1) / 2  # the centre of pixels 0 to stride - 1
    y = torch.arange(height, device=maps.device) * target.stride + first
    x = torch.arange(width, device=maps.device) * target.stride + first
    centres = torch.stack(torch.broadcast_tensors(x[None], y[:, None]), dim=2)  # (height, width, 2)
    return centres.reshape(-1, 2), values.reshape(-1)


def squared_distances(points: Tensor, cells: Tensor) -> Tensor:
    """Points (N, 2) and cell centres (M, 2) -> (N, M), squared pixels."""
    x, y = (points[:, axis, None] - cells[:, axis] for axis in (0, 1))
    return x.square() + y.square()


@torch.no_grad()
def sinkhorn(cost: Tensor, share: Tensor, *, entropy: float, iterations: int) -> tuple[Tensor, Tensor]:
    """Dual potentials of the transport between the heads, 1 / N each, and a map of sum 1.

    Args:
        cost: (N, M) of moving a unit from a head to a cell.
        share: (M,), the map.
        entropy: strength of the regularisation, in units of the cost.
        iterations: of alternating projections (https://arxiv.org/abs/1306.0895).

    Returns:
        alpha (N,) and beta (M,), in units of the cost: alpha.mean() + <beta, share> is the transport's cost as far as
        the regularisation lets it be.
    """
    log_share = share.clamp(min=1e-12).log()
    kernel = -cost / entropy
    beta = torch.zeros_like(log_share)
    for _ in range(iterations):
        alpha = -math.log(len(cost)) - torch.logsumexp(kernel + beta, dim=1)
        beta = log_share - torch.logsumexp(kernel + alpha[:, None], dim=0)
    return entropy * alpha, entropy * beta
