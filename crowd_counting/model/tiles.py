"""Count images of any size in bounded memory: in overlapping tiles, of which only the centers are kept."""

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
    """A tile along one axis, in steps: the range that the network sees, and the range of its output that is kept."""

    first: int
    end: int
    keep_first: int
    keep_end: int

    def kept(self, cells: int) -> slice:
        """What is kept of the network's output for this tile, which has so many cells per step."""
        return slice((self.keep_first - self.first) * cells, (self.keep_end - self.first) * cells)


def tiles_along(steps: int, *, tile: int, overlap: int) -> Iterator[Tile]:
    """Tiles of at most `tile` steps whose kept ranges partition 0 to `steps`.

    Each kept range has `overlap` cells on both sides, or the border of the image.
    """
    if steps <= tile:
        yield Tile(0, steps, 0, steps)
        return
    keep_first = 0
    while keep_first < steps:
        first = min(max(0, keep_first - overlap), steps - tile)
        end = first + tile
        keep_end = steps if end == steps else end - overlap
        yield Tile(first, end, keep_first, keep_end)
        keep_first = keep_end


@torch.no_grad()
def predict_density(
    model: CountingModel, pixels: np.ndarray | Picture, *, tile: int = 1536, overlap: int = 192
) -> tuple[Tensor, int]:
    """Predict the density map of an image.

    An image with sides up to `tile` pixels is processed whole, as in testing. Where the overlap covers the receptive
    field (about 140 pixels to each side for ResNet-50 up to stage 3), tiles give the same result as the whole image,
    except that attention pools over the tile instead of the image.

    Args:
        model: in eval mode, on its device.
        pixels: uint8 (H, W, 3), RGB; or a `Picture`, of which only one tile is converted at a time.
        tile: side in pixels of the tiles that the network sees.
        overlap: pixels around the kept center of a tile.

    Returns:
        float32 (ceil(H / stride), ceil(W / stride)) on the CPU, heads per cell; and the number of tiles.

    Raises:
        EANError: if the overlap leaves no center.
    """
    # In steps of what the network pads to: from other starts its deepest features would be of other pixels.
    step, stride = model.counter.pad_to, model.counter.stride
    side, margin, cells = tile // step, -(-overlap // step), step // stride
    if overlap < 0 or side <= 2 * margin:
        raise EANError(
            f"a tile of {tile} pixels with an overlap of {overlap} keeps nothing: use a tile over twice the overlap"
        )
    device = next(model.parameters()).device
    steps_down, steps_across = (-(-length // step) for length in pixels.shape[:2])
    density, count = torch.zeros([-(-length // stride) for length in pixels.shape[:2]]), 0
    for row in tiles_along(steps_down, tile=side, overlap=margin):
        for column in tiles_along(steps_across, tile=side, overlap=margin):
            part = pixels[row.first * step : row.end * step, column.first * step : column.end * step]
            image = torch.from_numpy(part.transpose(2, 0, 1).copy())[None].to(device)
            predicted = model.counter(model.normalize(image))[0, 0].float().cpu()  # up to the image's border
            kept = predicted[row.kept(cells), column.kept(cells)]
            down, across = row.keep_first * cells, column.keep_first * cells
            density[down : down + kept.shape[0], across : across + kept.shape[1]] = kept
            count += 1
    return density, count
