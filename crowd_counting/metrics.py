"""Counting metrics: MAE, RMSE, NAE and GAME, always against the annotated number of heads.

Most counting papers, including EAN's, print RMSE as "MSE". GAME:
Guerrero-Gomez-Olmedo et al., Extremely Overlapping Vehicle Counting (IbPRIA 2015): the image is divided into 4^L equal
regions and the regions' absolute errors are summed, so that a count that is right by luck scores badly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.distributed as dist
from mmengine.evaluator import BaseMetric

from ean_core.utils.errors import EANError

GAME_LEVELS = (0, 1, 2, 3)


@dataclass(frozen=True)
class ImageErrors:
    """The errors of one image.

    Attributes:
        image: name of the image.
        annotated: annotated number of heads.
        estimated: predicted number of heads.
        game: GAME at levels 0 to 3; level 0 is the absolute error.
    """

    image: str
    annotated: int
    estimated: float
    game: tuple[float, ...]

    @property
    def error(self) -> float:
        """Predicted minus annotated number of heads in an image."""
        return self.estimated - self.annotated


def image_errors(name: str, density: np.ndarray, points: np.ndarray, *, stride: int) -> ImageErrors:
    """Compare a density map with the points of a whole image.

    Args:
        name: name of the image.
        density: (h, w), heads per cell.
        points: (N, 2), x and y in pixels; all N count, and a point outside the image is assigned to the nearest cell.
        stride: pixels per cell.
    """
    density = np.asarray(density, dtype=np.float64)
    height, width = density.shape
    columns = np.clip(np.floor(points[:, 0] / stride), 0, width - 1).astype(int)
    rows = np.clip(np.floor(points[:, 1] / stride), 0, height - 1).astype(int)
    heads = np.zeros_like(density)
    np.add.at(heads, (rows, columns), 1.0)
    return ImageErrors(name, len(points), float(density.sum()), tuple(game(density - heads, k) for k in GAME_LEVELS))


def game(difference: np.ndarray, level: int) -> float:
    """GAME of a difference map (h, w): sum over 4^level regions of |sum in the region|, with edges rounded to cells."""
    regions = 2**level
    edges = [np.round(np.linspace(0, length, regions + 1)).astype(int) for length in difference.shape]
    total = 0.0
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            total += abs(float(difference[top:bottom, left:right].sum()))
    return total


def summarize_errors(rows: Sequence[ImageErrors]) -> dict[str, Any]:
    """Mean errors over all rows: MAE, RMSE, NAE (relative, over images with heads) and GAME 0 to 3.

    Raises:
        EANError: if a count is not finite.
    """
    for row in rows:
        if not math.isfinite(row.estimated):
            raise EANError(
                f"the counter predicts {row.estimated} heads for {row.image}: its training diverged, so train it again "
                "with a lower learning rate"
            )
    errors = np.array([row.error for row in rows])
    annotated = np.array([row.annotated for row in rows])
    nonempty = annotated > 0  # NAE is undefined for an image without heads
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": math.sqrt(float((errors**2).mean())),
        "nae": float((np.abs(errors[nonempty]) / annotated[nonempty]).mean()) if nonempty.any() else None,
        **{f"game{level}": float(np.mean([row.game[level] for row in rows])) for level in GAME_LEVELS},
        "images": len(rows),
    }


class CountErrors(BaseMetric):
    """Collects `ImageErrors` over batches and processes, for MMEngine's validation loop."""

    default_prefix = ""

    def process(self, data_batch: Any, data_samples: Sequence[ImageErrors]) -> None:
        """Add the errors of a batch's images."""
        del data_batch
        self.results.extend(data_samples)

    def evaluate(self, size: int) -> dict[str, Any]:
        """Gather the rows of all processes, without MMEngine's padding to equal lengths, and compute the metrics."""
        del size
        rows = list(self.results)
        self.results.clear()
        if dist.is_initialized():
            parts: list[list[ImageErrors]] = [[] for _ in range(dist.get_world_size())]
            dist.all_gather_object(parts, rows)
            rows = [row for part in parts for row in part]
        return self.compute_metrics(rows)

    def compute_metrics(self, results: list) -> dict[str, Any]:
        """Compute the metrics of all rows; see `summarize_errors`."""
        return summarize_errors(results)
