"""Metrics of single images, and the intervals of paired differences, against slow and published figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ean_core import EANError
from ean_core.pipeline.task import Metric
from ean_core.pipeline.trim.metric import mean_iou, metric_drop, metric_value

ACCURACY = Metric("top1", "accuracy", "%", proportion=True)
MAE = Metric("mae", "MAE", higher_is_better=False)
MIOU = Metric("mIoU", "mIoU", "%")


def test_accuracy_is_in_percent_and_an_error_is_a_mean() -> None:
    assert metric_value(np.array([True, False, True, True]), ACCURACY) == 75.0
    assert metric_value(np.array([1.0, 4.0]), MAE) == 2.5
    with pytest.raises(EANError, match="not finite"):
        metric_value(np.array([1.0, np.nan]), MAE)


def test_mean_iou_sums_areas_over_the_images_and_leaves_out_classes_without_pixels() -> None:
    areas = np.array([[[2, 4], [0, 0]], [[1, 2], [0, 0]]])
    assert metric_value(areas, MIOU) == pytest.approx(100 * 3 / 6)
    both = np.array([[[1, 4], [3, 6]]])
    assert metric_value(both, MIOU) == pytest.approx(100 * (1 / 4 + 3 / 6) / 2)
    assert mean_iou(both).shape == (1,)


def test_a_drop_is_positive_for_worse_whatever_the_metric() -> None:
    right, wrong = np.array([True] * 20), np.array([True] * 15 + [False] * 5)
    assert metric_drop(right, wrong, ACCURACY).value == 25.0
    assert metric_drop(wrong, right, ACCURACY).value == -25.0
    low, high = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.5, 7.0])
    assert metric_drop(low, high, MAE).value == pytest.approx(1.5)
    areas, worse = np.array([[[3, 4]], [[3, 4]]]), np.array([[[1, 4]], [[1, 4]]])
    assert metric_drop(areas, worse, MIOU).value == pytest.approx(50.0)


def test_paired_accuracies_have_the_interval_of_agresti_and_min() -> None:
    # the table of pairs 7 both right, 25 and 68 discordant, of 100: theirs is Wald's with 0.5 added to every cell
    before = np.array([1] * 7 + [1] * 25 + [0] * 68, dtype=bool)
    after = np.array([1] * 7 + [0] * 25 + [1] * 68, dtype=bool)
    drop = metric_drop(before, after, ACCURACY)
    b, c, n = 25.5, 68.5, 102
    half = 1.959964 * math.sqrt(b + c - (b - c) ** 2 / n) / n
    assert drop.value == -43.0
    assert drop.low == pytest.approx(100 * ((b - c) / n - half), rel=1e-5)
    assert drop.high == pytest.approx(100 * ((b - c) / n + half), rel=1e-5)


def test_equal_results_are_not_certain() -> None:
    same = np.ones(100, dtype=bool)
    drop = metric_drop(same, same, ACCURACY)
    assert drop.value == 0.0
    assert drop.low == pytest.approx(-drop.high)
    assert 1.5 < drop.high < 3.7  # 3 of 100 is what no event in 100 allows at most


def test_paired_errors_have_students_interval() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.exponential(10, 30), rng.exponential(11, 30)
    expected = stats.ttest_rel(after, before).confidence_interval(0.95)
    drop = metric_drop(before, after, MAE)
    assert (drop.low, drop.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_mean_iou_is_a_paired_bootstrap_over_images() -> None:
    rng = np.random.default_rng(0)
    union = rng.integers(50, 100, (40, 3))
    before = np.stack([union * 0.8, union], axis=-1).astype(int)
    after = np.stack([union * 0.7, union], axis=-1).astype(int)
    drop = metric_drop(before, after, MIOU)
    assert drop.low < drop.value < drop.high
    assert drop.high - drop.low < 0.5  # paired: all images lose the same, though their areas differ
    assert drop.value == pytest.approx(10, abs=0.5)


def test_different_images_are_refused() -> None:
    with pytest.raises(EANError, match="on the same images, got 2 and 3"):
        metric_drop(np.zeros(2), np.zeros(3), MAE)
