"""What a network sees of an image: a window, perhaps scaled and mirrored, with its points and its map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from crowd_counting.density import inside


@dataclass(frozen=True)
class View:
    """A window of an image, and what becomes of it.

    Attributes:
        top, left: first row and column of the window in the image, pixels.
        height, width: of the window, pixels.
        out_height, out_width: what it is resized to, pixels.
        mirrored: whether left and right are exchanged, after the resizing.
    """

    top: int
    left: int
    height: int
    width: int
    out_height: int
    out_width: int
    mirrored: bool = False

    @classmethod
    def whole(cls, size: tuple[int, int]) -> View:
        """All of an image (H, W) as it is."""
        return cls(0, 0, *size, *size)

    @property
    def scale(self) -> float:
        """Pixels after per pixel before; the geometric mean of the axes, which rounding sets a little apart."""
        return float(np.sqrt(self.out_height / self.height * self.out_width / self.width))

    def of_image(self, image: Image.Image) -> Tensor:
        """An RGB image -> uint8 (3, out_height, out_width)."""
        box = (self.left, self.top, self.left + self.width, self.top + self.height)
        size = (self.out_width, self.out_height)
        same = size == (self.width, self.height)
        part = image.crop(box) if same else image.resize(size, Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(part)[:, ::-1] if self.mirrored else np.asarray(part)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def of_points(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 2) of the image -> points (K, 2) of the view, and which were in the window: bool (N,).

        Pixel i reaches from i - 0.5 to i + 0.5, hence the halves. A point in the window stays in the view: one in the
        outer half of a border pixel, which scaling or mirroring puts just over the edge, is moved back onto it.
        """
        moved = points - np.array([self.left, self.top], dtype=np.float32)
        kept = inside(moved, (self.height, self.width))
        out = np.array([self.out_width, self.out_height], dtype=np.float32)
        moved = (moved[kept] + 0.5) * (out / np.array([self.width, self.height], dtype=np.float32)) - 0.5
        if self.mirrored:
            moved[:, 0] = self.out_width - 1 - moved[:, 0]
        return np.clip(moved, 0, np.nextafter(out, np.float32(0))).astype(np.float32), kept

    def of_density(self, density: np.ndarray, *, stride: int) -> Tensor:
        """A map of the whole image at `stride` -> the view's, float32 (out_height / stride, out_width / stride).

        Only for views without scaling, whose edges are multiples of the stride; see `draw_view`'s `align`. A side that
        is shorter than a cell is seen whole, as the one cell that it has.
        """
        assert (self.height, self.width) == (self.out_height, self.out_width), "a cached map cannot be scaled"
        edges = (self.top, self.left, self.height, self.width)
        assert all(edge % stride == 0 or edge < stride for edge in edges), edges
        top, left, height, width = (-(-edge // stride) for edge in edges)
        part = density[top : top + height, left : left + width]
        return torch.from_numpy((part[:, ::-1] if self.mirrored else part).copy())


def draw_view(
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    crop: int | None,
    scales: tuple[float, float] = (1.0, 1.0),
    flip: bool = True,
    align: int = 1,
) -> View:
    """Draw a training view.

    Args:
        size: (H, W) of the image.
        generator: all that is random; the same number of draws whatever is switched on.
        crop: side in pixels of the view; where the image is smaller, so is the view. None: the whole image.
        scales: least and greatest factor by which the image is resized.
        flip: mirror with probability 1/2.
        align: the window's edges are multiples of this many pixels; of a side that has fewer it is all of it.
    """
    draws = torch.rand(4, generator=generator).tolist()
    scale = scales[0] + draws[0] * (scales[1] - scales[0])
    window, out = [], []
    for side in size:
        wanted = side if crop is None else max(1, round(crop / scale))
        length = min(side, wanted)
        length = max(min(align, side), length // align * align)
        window.append(length)
        out.append(crop if crop is not None and length == wanted else max(1, round(length * scale)))
    top, left = (
        int(draw * ((side - length) // align + 1)) * align
        for draw, side, length in zip(draws[1:3], size, window, strict=True)
    )
    return View(top, left, *window, *out, mirrored=flip and draws[3] < 0.5)
