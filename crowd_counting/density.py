"""Density maps from head points: each head spreads a mass of exactly one over the pixels of the image.

Zhang et al., Single-Image Crowd Counting via Multi-Column CNN (CVPR 2016), section 2.2. Public code convolves a
map of dots and loses mass at the border; here every kernel is normalized over the pixels inside the image. A Gaussian
is the product of a row and a column kernel, so normalizing it is a softmax along each axis, and the map of all heads is
one matrix product: exact, untruncated, centered on the head's true position, and on the points' own device.
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

NEIGHBORS, SPREAD = 3, 0.3  # the paper's k and beta
LONELY_SIGMA = 15.0  # pixels, for a single head without neighbors
MIN_SIGMA = 0.1  # pixels, for heads annotated at the same point: practically a dot
MAX_SIGMA = 1000.0  # pixels
CHUNK = 2048  # heads rendered at once, to bound memory


@dataclass(frozen=True)
class Kernel:
    """How a head is spread over the density map.

    Attributes:
        kind: "fixed", "adaptive" or "dots".
        sigma: standard deviation in pixels, for "fixed".
    """

    kind: str
    sigma: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Kernel:
        """Parse "fixed:SIGMA", "adaptive" or "dots"; raise an `EANError` for anything else."""
        kind, _, value = str(text).partition(":")
        if kind in ("adaptive", "dots") and not value:
            return cls(kind)
        try:
            sigma = float(value)
        except ValueError:
            sigma = math.nan
        if kind != "fixed" or not 0 < sigma <= MAX_SIGMA:
            raise EANError(
                f"kernel must be 'fixed:SIGMA' with SIGMA above 0 and at most {MAX_SIGMA:g} pixels, 'adaptive' or "
                f"'dots', got {text!r}"
            )
        return cls(kind, sigma)

    def sigmas(self, points: np.ndarray) -> np.ndarray | None:
        """Standard deviations in pixels, float32 (N,), for points (N, 2) of one whole image; None for dots."""
        if self.kind == "dots":
            return None
        if self.kind == "fixed":
            return np.full(len(points), self.sigma, dtype=np.float32)
        return adaptive_sigmas(points)


def adaptive_sigmas(points: np.ndarray) -> np.ndarray:
    """0.3 times the mean distance to the 3 nearest other heads, or to all if there are fewer: float32 (N,), pixels."""
    neighbors = min(NEIGHBORS, len(points) - 1)
    if neighbors < 1:
        return np.full(len(points), LONELY_SIGMA, dtype=np.float32)
    distances, _ = cKDTree(points).query(points, k=neighbors + 1)  # (N, 1 + neighbors), the first is the head itself
    return np.maximum(SPREAD * distances[:, 1:].mean(axis=1), MIN_SIGMA).astype(np.float32)


def inside(points: Any, size: tuple[int, int]) -> Any:
    """Tell which points (N, 2) lie inside an image (H, W), 0 <= x < W and 0 <= y < H: bool (N,)."""
    height, width = size
    return (points[:, 0] >= 0) & (points[:, 0] < width) & (points[:, 1] >= 0) & (points[:, 1] < height)


def render_density(points: Any, size: tuple[int, int], stride: int = 1, kernel: str = "fixed:4") -> Tensor:
    """Render the density map of an image.

    Args:
        points: (N, 2) x, y in pixels, tensor or array; the center of the top left pixel is (0, 0). Points outside the
            image are ignored, duplicates are counted each time.
        size: (H, W) of the image in pixels.
        stride: pixels per side of a cell of the map; the map is the map at stride 1 summed over such blocks.
        kernel: "fixed:SIGMA" (pixels), "adaptive" (0.3 times the mean distance to 3 neighbors) or "dots".

    Returns:
        float32 (ceil(H / stride), ceil(W / stride)) on the points' device: heads per cell. The sum is the number of
        points inside the image.

    Raises:
        EANError: for points that are not finite or not (N, 2), or an invalid size, stride or kernel.
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
    """Render the density maps of a batch of images padded at the right and bottom to one shape.

    Args:
        points: points of each image, float32 (N_i, 2).
        sizes: int64 (B, 2), each image's (H, W) without its padding, which gets no mass.
        sigmas: standard deviations of each image's points, float32 (N_i,), pixels; None for dots.
        shape: (H, W) of the padded images.
        stride: pixels per side of a cell.

    Returns:
        float32 (B, ceil(H / stride), ceil(W / stride)), on the points' device.
    """
    longest = max(len(values) for values in points)
    padded = torch.stack(
        [F.pad(values, (0, 0, 0, longest - len(values)), value=-1.0) for values in points]
    )  # (B, N, 2), -1 is outside
    padded_sigmas = None
    if sigmas is not None:
        padded_sigmas = torch.stack(
            [F.pad(values, (0, longest - len(values)), value=1.0) for values in sigmas]
        )  # (B, N)
    image_sizes = sizes.to(padded.device)
    height, width = (-(-side // stride) for side in shape)
    maps = padded.new_zeros(len(points), height, width)
    for first in range(0, longest, CHUNK):
        part = padded[:, first : first + CHUNK]
        sigma = None if padded_sigmas is None else padded_sigmas[:, first : first + CHUNK]
        visible = ((part >= 0) & (part < image_sizes.flip(1)[:, None])).all(dim=2)  # (B, n): inside
        rows = axis_weights(part[..., 1], image_sizes[:, 0], sigma, cells=height, stride=stride)  # (B, n, height)
        columns = axis_weights(part[..., 0], image_sizes[:, 1], sigma, cells=width, stride=stride)  # (B, n, width)
        maps += (rows * visible[..., None]).transpose(1, 2) @ columns
    return maps


def axis_weights(coordinates: Tensor, lengths: Tensor, sigmas: Tensor | None, *, cells: int, stride: int) -> Tensor:
    """Distribute each head's mass over the cells along one axis.

    Args:
        coordinates: positions of the heads, (B, n), pixels.
        lengths: length of each image along the axis (B,), pixels.
        sigmas: standard deviations (B, n), pixels; None puts all mass on the nearest pixel.
        cells: number of cells along the axis.
        stride: pixels per cell.

    Returns:
        float32 (B, n, cells); sums to 1 over the cells.
    """
    pixel = torch.arange(cells * stride, device=coordinates.device, dtype=coordinates.dtype)
    if sigmas is None:
        nearest = torch.minimum((coordinates + 0.5).floor(), lengths[:, None] - 1.0)
        weights = (pixel == nearest[..., None]).to(coordinates.dtype)  # (B, n, pixels)
    else:
        logits = -0.5 * ((pixel - coordinates[..., None]) / sigmas[..., None]) ** 2  # (B, n, pixels)
        # The softmax is the Gaussian divided by its sum over the pixels inside the image, without underflow.
        weights = logits.masked_fill(pixel >= lengths[:, None, None], -math.inf).softmax(dim=2)
    return weights.unflatten(2, (cells, stride)).sum(dim=3)
