"""Counting images of any size in bounded memory: in tiles that overlap, of which only the middles are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crowd_counting.model.training_model import CountingModel
from ean_core.data.read_image import Picture
from ean_core.utils.errors import EANError


class Tile(NamedTuple):
    """A tile along one axis, in cells: what is shown to the network, and what of its answer is kept."""

    first: int
    end: int
    keep_first: int
    keep_end: int


def tiles_along(cells: int, *, tile: int, overlap: int) -> Iterator[Tile]:
    """Tiles of at most `tile` cells whose kept middles part 0 to `cells`; what is kept has `overlap` cells around it,
    or the border of the image."""
    if cells <= tile:
        yield Tile(0, cells, 0, cells)
        return
    keep_first = 0
    while keep_first < cells:
        first = min(max(0, keep_first - overlap), cells - tile)
        end = first + tile
        keep_end = cells if end == cells else end - overlap
        yield Tile(first, end, keep_first, keep_end)
        keep_first = keep_end


@torch.no_grad()
def density_of(
    model: CountingModel, pixels: np.ndarray | Picture, *, tile: int = 1536, overlap: int = 192
) -> tuple[Tensor, int]:
    """The density map of an image.

    An image of up to `tile` pixels a side is counted in one piece, as in the test. Where the overlap covers the
    network's field of view (for ResNet-50 to stage 3 about 140 pixels to each side) tiles give what the whole image
    gives; but attention pools over all it is shown, which is then a tile.

    Args:
        model: in eval mode, on its device.
        pixels: uint8 (H, W, 3), RGB; or a picture, of which only a tile is converted at a time.
        tile: side in pixels of what is shown to the network at once.
        overlap: pixels around the kept middle of a tile.

    Returns:
        float32 (ceil(H / stride), ceil(W / stride)) on the CPU, heads per cell; and the number of tiles.

    Raises:
        EANError: if the overlap leaves nothing of a tile.
    """
    stride = model.counter.stride
    side, margin = tile // stride, -(-overlap // stride)
    if overlap < 0 or side <= 2 * margin:
        raise EANError(
            f"a tile of {tile} pixels with an overlap of {overlap} keeps nothing: give a tile over twice that"
        )
    device = next(model.parameters()).device
    height, width = (-(-length // stride) for length in pixels.shape[:2])
    density, count = torch.zeros(height, width), 0
    for row in tiles_along(height, tile=side, overlap=margin):
        for column in tiles_along(width, tile=side, overlap=margin):
            part = pixels[row.first * stride : row.end * stride, column.first * stride : column.end * stride]
            image = torch.from_numpy(part.transpose(2, 0, 1).copy())[None].to(device)
            found = model.counter(model.normalize(image))[0, 0].float().cpu()  # (row.end - row.first, ..)
            kept = found[
                row.keep_first - row.first : row.keep_end - row.first,
                column.keep_first - column.first : column.keep_end - column.first,
            ]
            density[row.keep_first : row.keep_end, column.keep_first : column.keep_end] = kept
            count += 1
    return density, count
