"""Density maps from head points: each head spreads a mass of exactly one over the pixels of the image.

Zhang et al., Single-Image Crowd Counting via Multi-Column CNN (CVPR 2016), section 2.2. Where public code convolves a
map of dots, and loses mass at the border, here every kernel is normalized over the pixels inside the image. A Gaussian
is a product of a row and a column kernel, so that this is a softmax along each axis, and the map of all heads is one
matrix product: exact, of full extent, at the head's true centre, and on whatever device the points are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from ean_core.utils.errors import EANError

NEIGHBOURS, SPREAD = 3, 0.3  # the paper's k and beta
LONELY_SIGMA = 15.0  # of an only head, which has no neighbours
MIN_SIGMA = 0.1  # of heads annotated at one place: all but a dot
CHUNK = 2048  # heads rendered at once, which bounds the memory


@dataclass(frozen=True)
class Kernel:
    """What a head becomes on the map.

    Attributes:
        kind: "fixed", "adaptive" or "dots".
        sigma: pixels, of "fixed".
    """

    kind: str
    sigma: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Kernel:
        """Read "fixed:SIGMA", "adaptive" or "dots"; anything else is an `EANError`."""
        kind, _, value = str(text).partition(":")
        if kind in ("adaptive", "dots") and not value:
            return cls(kind)
        try:
            sigma = float(value)
        except ValueError:
            sigma = math.nan
        if kind != "fixed" or not (0 < sigma < math.inf):
            raise EANError(f"kernel is 'fixed:SIGMA' with pixels above 0, 'adaptive' or 'dots', got {text!r}")
        return cls(kind, sigma)

    def sigmas(self, points: np.ndarray) -> np.ndarray | None:
        """float32 (N,), pixels, for points (N, 2) of one whole image; None for dots."""
        if self.kind == "dots":
            return None
        if self.kind == "fixed":
            return np.full(len(points), self.sigma, dtype=np.float32)
        return adaptive_sigmas(points)


def adaptive_sigmas(points: np.ndarray) -> np.ndarray:
    """0.3 times the mean distance to the 3 nearest other heads, or to as many as there are: float32 (N,), pixels."""
    neighbours = min(NEIGHBOURS, len(points) - 1)
    if neighbours < 1:
        return np.full(len(points), LONELY_SIGMA, dtype=np.float32)
    distances, _ = cKDTree(points).query(points, k=neighbours + 1)  # (N, 1 + neighbours), the first is the head itself
    return np.maximum(SPREAD * distances[:, 1:].mean(axis=1), MIN_SIGMA).astype(np.float32)


def inside(points: Any, size: tuple[int, int]) -> Any:
    """Which points (N, 2) lie in an image (H, W): bool (N,); 0 <= x < W and 0 <= y < H."""
    height, width = size
    return (points[:, 0] >= 0) & (points[:, 0] < width) & (points[:, 1] >= 0) & (points[:, 1] < height)


def render_density(points: Any, size: tuple[int, int], stride: int = 1, kernel: str = "fixed:4") -> Tensor:
    """The density map of an image.

    Args:
        points: (N, 2) x, y in pixels, tensor or array; the centre of the top left pixel is (0, 0). Points outside the
            image are left out, duplicates count as often as they come.
        size: (H, W) of the image in pixels.
        stride: pixels per side of a cell of the map; the map is the sum over such blocks of the map at stride 1.
        kernel: "fixed:SIGMA" (pixels), "adaptive" (0.3 times the mean distance to 3 neighbours) or "dots".

    Returns:
        float32 (ceil(H / stride), ceil(W / stride)) on the points' device: heads per cell. The sum is the number of
        points inside the image.

    Raises:
        EANError: for points of another shape, not finite, or an impossible size, stride or kernel.
    """
    parsed = Kernel.parse(kernel)
    height, width = (int(side) for side in size)
    if height < 1 or width < 1 or stride < 1:
        raise EANError(f"size and stride must be at least 1, got size {tuple(size)} and stride {stride}")
    points = torch.as_tensor(points, dtype=torch.float32)
    points = points.reshape(-1, 2) if points.numel() == 0 else points
    if points.ndim != 2 or points.shape[1] != 2 or not points.isfinite().all():
        raise EANError(f"points must be finite and of shape (N, 2), x and y in pixels; got shape {tuple(points.shape)}")
    points = points[inside(points, (height, width))]
    sigmas = parsed.sigmas(points.cpu().numpy())
    sizes = torch.tensor([[height, width]], device=points.device)
    spread = None if sigmas is None else [torch.from_numpy(sigmas).to(points.device)]
    return render_batch([points], sizes, spread, shape=(height, width), stride=stride)[0]


def render_batch(
    points: Sequence[Tensor], sizes: Tensor, sigmas: Sequence[Tensor] | None, *, shape: tuple[int, int], stride: int
) -> Tensor:
    """The density maps of a batch of images that are padded at the right and the bottom to one shape.

    Args:
        points: of each image, float32 (N_i, 2).
        sizes: int64 (B, 2), each image's (H, W) without the padding, which gets no mass.
        sigmas: of each image's points, float32 (N_i,), pixels; None for dots.
        shape: (H, W) of the padded images.
        stride: pixels per side of a cell.

    Returns:
        float32 (B, ceil(H / stride), ceil(W / stride)), on the points' device.
    """
    most = max(len(one) for one in points)
    at = torch.stack([F.pad(one, (0, 0, 0, most - len(one)), value=-1.0) for one in points])  # (B, N, 2), -1 is outside
    spread = None
    if sigmas is not None:
        spread = torch.stack([F.pad(one, (0, most - len(one)), value=1.0) for one in sigmas])  # (B, N)
    limits = sizes.to(at.device)
    height, width = (-(-side // stride) for side in shape)
    maps = at.new_zeros(len(points), height, width)
    for first in range(0, most, CHUNK):
        part = at[:, first : first + CHUNK]
        sigma = None if spread is None else spread[:, first : first + CHUNK]
        there = ((part >= 0) & (part < limits.flip(1)[:, None])).all(dim=2)  # (B, n): inside
        rows = axis_weights(part[..., 1], limits[:, 0], sigma, cells=height, stride=stride)  # (B, n, height)
        columns = axis_weights(part[..., 0], limits[:, 1], sigma, cells=width, stride=stride)  # (B, n, width)
        maps += (rows * there[..., None]).transpose(1, 2) @ columns
    return maps


def axis_weights(at: Tensor, limits: Tensor, sigmas: Tensor | None, *, cells: int, stride: int) -> Tensor:
    """How each head's mass falls on the cells along one axis.

    Args:
        at: coordinates (B, n), pixels.
        limits: length of each image along the axis (B,), pixels.
        sigmas: (B, n), pixels; None puts all mass on the nearest pixel.
        cells: along the axis.
        stride: pixels per cell.

    Returns:
        float32 (B, n, cells); sums to 1 over the cells.
    """
    pixel = torch.arange(cells * stride, device=at.device, dtype=at.dtype)
    if sigmas is None:
        nearest = torch.minimum((at + 0.5).floor(), limits[:, None] - 1.0)
        weights = (pixel == nearest[..., None]).to(at.dtype)  # (B, n, pixels)
    else:
        logits = -0.5 * ((pixel - at[..., None]) / sigmas[..., None]) ** 2  # (B, n, pixels)
        # A softmax is the Gaussian divided by its sum over the pixels that are there, without underflow.
        weights = logits.masked_fill(pixel >= limits[:, None, None], -math.inf).softmax(dim=2)
    return weights.unflatten(2, (cells, stride)).sum(dim=3)
