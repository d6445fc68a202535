"""Training crops: a window of an image, optionally scaled and mirrored, with its points and density map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from crowd_counting.density import inside


@dataclass(frozen=True)
class Crop:
    """A window of an image, and how it is resized and mirrored.

    Attributes:
        top, left: first row and column of the window in the image, pixels.
        height, width: size of the window, pixels.
        out_height, out_width: size after resizing, pixels.
        mirrored: whether it is flipped left to right, after resizing.
    """

    top: int
    left: int
    height: int
    width: int
    out_height: int
    out_width: int
    mirrored: bool = False

    @classmethod
    def full_image(cls, size: tuple[int, int]) -> Crop:
        """The whole image of this size (H, W), unscaled."""
        return cls(0, 0, *size, *size)

    @property
    def scale(self) -> float:
        """Output pixels per input pixel: the geometric mean of both axes, which rounding makes slightly different."""
        return float(np.sqrt(self.out_height / self.height * self.out_width / self.width))

    def apply_to_image(self, image: Image.Image) -> Tensor:
        """Crop an RGB image to uint8 (3, out_height, out_width)."""
        box = (self.left, self.top, self.left + self.width, self.top + self.height)
        size = (self.out_width, self.out_height)
        unscaled = size == (self.width, self.height)
        cropped = image.crop(box) if unscaled else image.resize(size, Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(cropped)[:, ::-1] if self.mirrored else np.asarray(cropped)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def apply_to_points(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map points (N, 2) of the image to points (K, 2) of the crop, and tell which were inside: bool (N,).

        Pixel i spans i - 0.5 to i + 0.5, hence the halves. A point inside the window stays inside the crop: one in the
        outer half of a border pixel, which scaling or mirroring would move just over the edge, is clipped to the edge.
        """
        shifted = points - np.array([self.left, self.top], dtype=np.float32)
        kept = inside(shifted, (self.height, self.width))
        out_size = np.array([self.out_width, self.out_height], dtype=np.float32)
        shifted = (shifted[kept] + 0.5) * (out_size / np.array([self.width, self.height], dtype=np.float32)) - 0.5
        if self.mirrored:
            shifted[:, 0] = self.out_width - 1 - shifted[:, 0]
        return np.clip(shifted, 0, np.nextafter(out_size, np.float32(0))).astype(np.float32), kept

    def apply_to_density(self, density: np.ndarray, *, stride: int) -> Tensor:
        """Crop the whole image's map at `stride` to float32 (out_height / stride, out_width / stride).

        Only for unscaled crops whose edges are multiples of the stride; see `align` of `random_crop`. A side shorter
        than a cell is kept whole, as its only cell.
        """
        assert (self.height, self.width) == (self.out_height, self.out_width), "a cached map cannot be scaled"
        edges = (self.top, self.left, self.height, self.width)
        assert all(edge % stride == 0 or edge < stride for edge in edges), edges
        top, left, height, width = (-(-edge // stride) for edge in edges)
        part = density[top : top + height, left : left + width]
        return torch.from_numpy((part[:, ::-1] if self.mirrored else part).copy())


def random_crop(
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    crop: int | None,
    scales: tuple[float, float] = (1.0, 1.0),
    flip: bool = True,
    align: int = 1,
) -> Crop:
    """Draw a random training crop.

    Args:
        size: (H, W) of the image.
        generator: the only source of randomness; it is called equally often whatever is enabled.
        crop: side of the crop in pixels, less where the image is smaller; None for the whole image.
        scales: smallest and largest factor by which the image is resized.
        flip: mirror with probability 1/2.
        align: the window's edges are multiples of this many pixels; a shorter side is taken whole.
    """
    uniforms = torch.rand(4, generator=generator).tolist()
    scale = scales[0] + uniforms[0] * (scales[1] - scales[0])
    window_sides, out_sides = [], []
    for side in size:
        window_side = side if crop is None else max(1, round(crop / scale))
        side_used = min(side, window_side)
        side_used = max(min(align, side), side_used // align * align)
        window_sides.append(side_used)
        out_sides.append(crop if crop is not None and side_used == window_side else max(1, round(side_used * scale)))
    top, left = (
        int(uniform * ((side - side_used) // align + 1)) * align
        for uniform, side, side_used in zip(uniforms[1:3], size, window_sides, strict=True)
    )
    return Crop(top, left, *window_sides, *out_sides, mirrored=flip and uniforms[3] < 0.5)
