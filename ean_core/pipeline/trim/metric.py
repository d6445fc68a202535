"""A metric from the results of single images, and what two networks differ by on the same images."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ean_core.pipeline.task import Metric
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import Interval, bootstrap
from ean_core.utils.significance import CONFIDENCE, proportions_interval


def metric_value(results: np.ndarray, metric: Metric) -> float:
    """The metric over all images.

    Args:
        results: as `TrimTask.results` returns them.
        metric: in percent where it is a proportion or a mean IoU.

    Raises:
        EANError: for results that are not finite.
    """
    if not np.isfinite(results).all():
        raise EANError("the network's outputs are not finite: its training diverged, so there is nothing to trim")
    if results.ndim == 3:
        return float(mean_iou(results.sum(axis=0)))
    return float(results.mean()) * (100 if metric.proportion else 1)


def mean_iou(areas: np.ndarray) -> np.ndarray:
    """Mean IoU in percent from pixels (..., K, 2) in intersection and union; classes without pixels do not count."""
    intersection, union = areas[..., 0].astype(float), areas[..., 1].astype(float)
    iou = np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)
    return 100 * np.nanmean(iou, axis=-1)


def metric_drop(before: np.ndarray, after: np.ndarray, metric: Metric) -> Interval:
    """How much worse a network is than before, on the same images: positive for worse, with a 95 % interval.

    Right or wrong images: `proportions_interval`. Errors: Student's t of the paired differences. Mean IoU: a bootstrap
    over the images.

    Args:
        before, after: as `TrimTask.results` returns them, image by image.
        metric: decides the unit and which sign is worse.

    Raises:
        EANError: for different images.
    """
    if before.shape != after.shape or not before.size:
        raise EANError(f"networks are compared on the same images, got {len(before)} and {len(after)} results")
    if before.ndim == 3:
        return _iou_drop(before, after)
    differences = (before.astype(float) - after.astype(float)) * (1 if metric.higher_is_better else -1)
    mean = float(differences.mean())
    if metric.proportion:
        worse, better = int((differences > 0).sum()), int((differences < 0).sum())
        return Interval(100 * mean, *proportions_interval(worse, better, len(differences)))
    if len(differences) < 2 or np.ptp(differences) == 0:
        return Interval(mean, mean, mean)
    low, high = stats.ttest_1samp(differences, 0.0).confidence_interval(CONFIDENCE)
    return Interval(mean, float(low), float(high))


def _iou_drop(before: np.ndarray, after: np.ndarray) -> Interval:
    """Bootstrap over images of the difference of two mean IoUs, in points."""

    def drop(images: np.ndarray, axis: int) -> np.ndarray:
        chosen = np.moveaxis(images.astype(int), axis, -1)
        return mean_iou(before[chosen].sum(axis=-3)) - mean_iou(after[chosen].sum(axis=-3))

    return bootstrap(drop, np.arange(len(before)))
