"""IoU against a confusion matrix that is written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segmentation.metric import ClassIoU


def samples(pairs: list[tuple[list, list]]) -> list[dict]:
    """(prediction, truth) label lists as mmsegmentation's samples."""
    return [
        {"pred_sem_seg": {"data": torch.tensor([one])}, "gt_sem_seg": {"data": torch.tensor([other])}}
        for one, other in pairs
    ]


def test_by_hand():
    # truth \ prediction:   a  b  c        IoU a = 3 / (3 + 1 + 1), b = 1 / (1 + 1 + 2), c = 0 / (0 + 1 + 0 ..)
    #   a                   3  1  0
    #   b                   1  1  0        two pixels are 255 and not counted
    #   c                   0  1  0        class d is nowhere
    metric = ClassIoU(iou_metrics=["mIoU"])
    metric.dataset_meta = {"classes": ("a", "b", "c", "d")}
    first = ([[0, 0, 1], [0, 1, 1]], [[0, 0, 0], [1, 1, 255]])
    second = ([[0, 1], [2, 3]], [[0, 2], [255, 255]])
    metric.process({}, samples([first, second]))
    shown = metric.evaluate(2)
    table = metric.table
    assert [row["IoU"] for row in table["classes"]] == pytest.approx([60.0, 25.0, 0.0, None])
    assert [row["Acc"] for row in table["classes"]] == pytest.approx([75.0, 50.0, 0.0, None])
    assert table["mIoU"] == pytest.approx(85 / 3)
    assert table["mAcc"] == pytest.approx(125 / 3)
    assert table["aAcc"] == pytest.approx(100 * 4 / 7)
    assert table["images"] == 2
    for name in ("mIoU", "mAcc", "aAcc"):
        assert shown[name] == pytest.approx(table[name], abs=0.005)


def test_against_a_slow_confusion_matrix():
    rng = np.random.default_rng(0)
    classes = 21
    pairs = [(rng.integers(0, classes, (17, 13)), rng.choice([*range(classes), 255], (17, 13))) for _ in range(4)]
    matrix = np.zeros((classes, classes), int)
    for prediction, truth in pairs:
        for one, other in zip(prediction.ravel(), truth.ravel(), strict=True):
            if other != 255:
                matrix[other, one] += 1
    metric = ClassIoU(iou_metrics=["mIoU"])
    metric.dataset_meta = {"classes": tuple(map(str, range(classes)))}
    metric.process({}, samples([(one.tolist(), other.tolist()) for one, other in pairs]))
    metric.evaluate(len(pairs))
    hits = np.diag(matrix)
    iou = 100 * hits / (matrix.sum(0) + matrix.sum(1) - hits)
    assert [row["IoU"] for row in metric.table["classes"]] == pytest.approx(iou.tolist())
    assert metric.table["mIoU"] == pytest.approx(iou.mean())
    assert metric.table["mAcc"] == pytest.approx((100 * hits / matrix.sum(1)).mean())
    assert metric.table["aAcc"] == pytest.approx(100 * hits.sum() / matrix.sum())
