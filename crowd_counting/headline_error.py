"""The figure that trained counters are compared by: the MAE, or for several parts the relative error of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from crowd_counting.metrics import ImageErrors, error_weights, figure_key, summarize_validation
from ean_core.pipeline.task import Metric

RELATIVE_ERROR = Metric("relative_error_percent", "relative error", "%", higher_is_better=False)
"""The mean over the parts of MAE / mean count, see `crowd_counting.metrics.relative_error`."""
ERRORS = {"mae": "MAE", "rmse": "RMSE"}
"""The other figures in tables: their keys in `summarize_errors`, and their names."""


def error_metrics(parts: Iterable[str]) -> tuple[Metric, ...]:
    """The metrics of counters on images of these parts, the one that compares them first.

    Of a single part they are MAE and RMSE; of several the relative error, then MAE and RMSE of each part.
    """
    names = list(dict.fromkeys(parts))
    if len(names) == 1:
        return tuple(Metric(key, name, "people", higher_is_better=False) for key, name in ERRORS.items())
    of_each = (
        Metric(figure_key(part, key), error_name(part, name), "people", higher_is_better=False, in_summary=key == "mae")
        for part in names
        for key, name in ERRORS.items()
    )
    return RELATIVE_ERROR, *of_each


def error_name(part: str, name: str = ERRORS["mae"]) -> str:
    """An error of one of several parts, such as "MAE on part_A"; "" is the only annotated one."""
    return f"{name} on {part or 'annotated'}"


def error_figures(rows: Sequence[ImageErrors]) -> dict[str, Any]:
    """The figures of tested images by the keys of `error_metrics`, and further ones."""
    figures = summarize_validation(rows)
    if "relative_error" in figures:
        figures[RELATIVE_ERROR.key] = 100 * figures.pop("relative_error")
    return figures


def image_shares(rows: Sequence[ImageErrors], metric: Metric) -> np.ndarray:
    """What each image contributes to a metric, (N,) with the metric as its mean, to compare counters image by image.

    Args:
        rows: of all the images that the metric is of.
        metric: the MAE (the absolute errors, in people) or `RELATIVE_ERROR` (in percent).
    """
    errors = np.array([abs(row.error) for row in rows])
    return errors * share_weights([(row.part, row.annotated) for row in rows], metric)


def share_weights(counts: Sequence[tuple[str, int]], metric: Metric) -> np.ndarray:
    """The factors (N,) between absolute errors and `image_shares`.

    Args:
        counts: part and true count of each image.
        metric: as there.
    """
    if metric != RELATIVE_ERROR:
        return np.ones(len(counts))
    weights = error_weights(counts)
    return np.array([100 * len(counts) * weights[part] for part, _ in counts])
