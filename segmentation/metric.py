"""mmsegmentation's IoU metric, with the per-class table kept as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.device import get_device
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from ean_core.training.finite_guard import first_message
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many


@METRICS.register_module()
class ClassIoU(IoUMetric):
    """`IoUMetric` that keeps its last table.

    Attributes:
        table: mIoU, mAcc and aAcc in percent, not rounded, the number of images, the pixel accuracy of each image, by
            which two segmentors can be compared, and for every class its IoU and accuracy in percent, None for a class
            without pixels; None before the first evaluation.
    """

    table: dict[str, Any] | None = None
    non_finite: int = 0  # images whose logits are not finite

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Add a batch's areas, and count images with non-finite logits, whose labels are meaningless."""
        for sample in data_samples:
            logits = sample.get("seg_logits", {}).get("data")
            self.non_finite += logits is not None and not bool(logits.isfinite().all())
        super().process(data_batch, data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the metrics over all batches and processes.

        Raises:
            EANError: in all processes, if any process had non-finite logits.
        """
        non_finite, self.non_finite = self.non_finite, 0
        message = f"the segmentor's outputs are not finite for {how_many(non_finite, 'image')}" if non_finite else None
        if (message := first_message(message, device=torch.device(get_device()))) is not None:
            self.results.clear()
            raise EANError(f"{message}: its training diverged, so train it again with a lower learning rate")
        return super().evaluate(size)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the metrics, and keep the table of the classes."""
        intersection, union, _, truth = (sum(part) for part in zip(*results, strict=True))
        if not truth.sum():
            raise EANError("all pixels of the masks have an ignored label: nothing can be scored")
        iou = percent(intersection, union)
        accuracy = percent(intersection, truth)
        self.table = {
            "mIoU": mean(iou),
            "mAcc": mean(accuracy),
            "aAcc": float(100 * intersection.sum() / truth.sum()),
            "images": len(results),
            "per_image": [pixel_accuracy(image[0], image[3]) for image in results],
            "classes": [
                {"class": name, "IoU": class_iou, "Acc": class_accuracy}
                for name, class_iou, class_accuracy in zip(self.dataset_meta["classes"], iou, accuracy, strict=True)
            ],
        }
        return super().compute_metrics(results)


def percent(part: Any, whole: Any) -> list[float | None]:
    """100 * part / whole, None where the whole is 0."""
    return [100 * float(a) / float(b) if b else None for a, b in zip(part, whole, strict=True)]


def pixel_accuracy(right: Any, truth: Any) -> float | None:
    """Percent of an image's counted pixels that are right; None if all are ignored."""
    return round(float(100 * right.sum() / truth.sum()), 4) if truth.sum() else None


def mean(values: list[float | None]) -> float:
    """Mean over the classes that are not None; NaN without any."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else math.nan
