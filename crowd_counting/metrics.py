"""Counting metrics: MAE, RMSE, NAE and GAME, always against the annotated number of people.

Most counting papers, including EAN's, print RMSE as "MSE". GAME:
Guerrero-Gomez-Olmedo et al., Extremely Overlapping Vehicle Counting (IbPRIA 2015): the image is divided into 4^L equal
regions and the regions' absolute errors are summed, so that a count that is right by luck scores badly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.distributed as dist
from mmengine.evaluator import BaseMetric

from ean_core.inference.count_errors import EmptyScenes, RangeErrors
from ean_core.utils.errors import EANError

GAME_LEVELS = (0, 1, 2, 3)
COUNT_RANGES = (0, 1, 50, 100, 250, 500, 1000)
"""Smallest true counts of the ranges that errors are given for; the first is of images without people."""


@dataclass(frozen=True)
class ImageErrors:
    """The errors of one image.

    Attributes:
        image: name of the image.
        annotated: annotated number of people.
        estimated: predicted number of people.
        game: GAME at levels 0 to 3; level 0 is the absolute error.
        part: of the data set, as of `CrowdImage`.
    """

    image: str
    annotated: int
    estimated: float
    game: tuple[float, ...]
    part: str = ""

    @property
    def error(self) -> float:
        """Predicted minus annotated number of people in an image."""
        return self.estimated - self.annotated


def image_errors(name: str, density: np.ndarray, points: np.ndarray, *, stride: int, part: str = "") -> ImageErrors:
    """Compare a density map with the points of a whole image.

    Args:
        name: name of the image.
        density: (h, w), heads per cell.
        points: (N, 2), x and y in pixels; all N count, and a point outside the image is assigned to the nearest cell.
        stride: pixels per cell.
        part: of the data set.
    """
    density = np.asarray(density, dtype=np.float64)
    height, width = density.shape
    columns = np.clip(np.floor(points[:, 0] / stride), 0, width - 1).astype(int)
    rows = np.clip(np.floor(points[:, 1] / stride), 0, height - 1).astype(int)
    heads = np.zeros_like(density)
    np.add.at(heads, (rows, columns), 1.0)
    regions = tuple(game(density - heads, level) for level in GAME_LEVELS)
    return ImageErrors(name, len(points), float(density.sum()), regions, part)


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
    """Mean errors over all rows: MAE, RMSE, NAE (relative, over images with people) and GAME 0 to 3.

    Raises:
        EANError: if a count is not finite.
    """
    for row in rows:
        if not math.isfinite(row.estimated):
            raise EANError(
                f"the counter predicts {row.estimated} people for {row.image}: its training diverged, so train it "
                "again with a lower learning rate"
            )
    errors = np.array([row.error for row in rows])
    annotated = np.array([row.annotated for row in rows])
    nonempty = annotated > 0  # NAE is undefined for an image without people
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": math.sqrt(float((errors**2).mean())),
        "nae": float((np.abs(errors[nonempty]) / annotated[nonempty]).mean()) if nonempty.any() else None,
        **{f"game{level}": float(np.mean([row.game[level] for row in rows])) for level in GAME_LEVELS},
        "images": len(rows),
    }


def errors_by_count(rows: Sequence[ImageErrors]) -> list[RangeErrors]:
    """The errors in each range of true counts that has images, see `COUNT_RANGES`."""
    ranges = []
    for low, following in zip(COUNT_RANGES, (*COUNT_RANGES[1:], None), strict=True):
        group = [row for row in rows if low <= row.annotated and (following is None or row.annotated < following)]
        if group:
            errors = np.array([row.error for row in group])
            relative = float(np.mean([abs(row.error) / row.annotated for row in group])) if low else None
            high = None if following is None else following - 1
            ranges.append(RangeErrors(low, high, len(group), float(abs(errors).mean()), float(errors.mean()), relative))
    return ranges


def summarize_empty(rows: Sequence[ImageErrors]) -> EmptyScenes:
    """What was counted in photos without people."""
    counts = [row.estimated for row in rows]
    return EmptyScenes(len(counts), float(np.mean(counts)), max(counts))


def group_by_part(rows: Sequence[ImageErrors]) -> dict[str, list[ImageErrors]]:
    """The rows of each part, in the order in which the parts appear."""
    groups: dict[str, list[ImageErrors]] = {}
    for row in rows:
        groups.setdefault(row.part, []).append(row)
    return groups


def summarize_parts(rows: Sequence[ImageErrors]) -> dict[str, Any]:
    """The figures of `summarize_errors`; of several parts those of each, by its name, and none of all together."""
    groups = group_by_part(rows)
    if len(groups) == 1:
        return summarize_errors(rows)
    return {part: summarize_errors(group) for part, group in groups.items()}


def summarize_validation(rows: Sequence[ImageErrors]) -> dict[str, Any]:
    """The figures by which a checkpoint is chosen: the lowest MAE, and for several parts the lowest "relative_error".

    For several parts the figures of each are there as "PART/mae", "PART/rmse", .., those of the only annotated part
    without "PART/".
    """
    groups = group_by_part(rows)
    if len(groups) == 1:
        return summarize_errors(rows)
    figures = {part: summarize_errors(group) for part, group in groups.items()}
    flat = {figure_key(part, key): value for part in figures for key, value in figures[part].items()}
    return {**flat, "relative_error": relative_error(rows)}


def figure_key(part: str, key: str) -> str:
    """The key of a part's figure where several parts have figures side by side, such as "part_A/mae"."""
    return f"{part}/{key}" if part else key


def relative_error(rows: Sequence[ImageErrors]) -> float:
    """The mean over the parts of MAE / mean count, so that a part with dense crowds does not outweigh the others."""
    weights = error_weights((row.part, row.annotated) for row in rows)
    return sum(weights[row.part] * abs(row.error) for row in rows)


def error_weights(counts: Iterable[tuple[str, int]]) -> dict[str, float]:
    """What an error of one person in an image of each part adds to the relative error of all images.

    A part without people has no mean count, and takes the average of the others': the error of a photo of nobody is
    weighed as that of a usual photo. If no part has people, the relative error is the mean of the MAEs.

    Args:
        counts: part and true count of each image.

    Returns:
        part -> 1 / (number of parts * images of the part * mean count), in the order in which the parts appear.
    """
    groups: dict[str, list[int]] = {}
    for part, count in counts:
        groups.setdefault(part, []).append(count)
    means = {part: float(np.mean(group)) for part, group in groups.items()}
    usual = float(np.mean([mean for mean in means.values() if mean] or [1.0]))
    return {part: 1 / (len(groups) * len(group) * (means[part] or usual)) for part, group in groups.items()}


class CountMetric(BaseMetric):
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
        """Compute the metrics of all rows; see `summarize_validation`."""
        return summarize_validation(results)
