"""mmsegmentation's IoU, with the table of the classes kept as numbers and not only printed."""

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


@METRICS.register_module()
class ClassIoU(IoUMetric):
    """`IoUMetric` that remembers its last table.

    Attributes:
        table: mIoU, mAcc and aAcc in percent, not rounded, the number of images, and for every class its IoU and
            accuracy in percent, None where neither truth nor prediction has it; None before the first evaluation.
    """

    table: dict[str, Any] | None = None
    wild: int = 0  # images whose logits are not finite

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Add a batch's areas; logits that are not finite have labels too, which mean nothing."""
        for sample in data_samples:
            logits = sample.get("seg_logits", {}).get("data")
            self.wild += logits is not None and not bool(logits.isfinite().all())
        super().process(data_batch, data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over batches and processes.

        Raises:
            EANError: in all processes, if the logits of an image of one of them are not finite.
        """
        wild, self.wild = self.wild, 0
        what = f"the segmentor's outputs are not finite for {wild} image(s)" if wild else None
        if (what := first_message(what, device=torch.device(get_device()))) is not None:
            self.results.clear()
            raise EANError(f"{what}: its training diverged, so train it again with a lower learning rate")
        return super().evaluate(size)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """As the base."""
        intersection, union, _, truth = (sum(part) for part in zip(*results, strict=True))
        if not truth.sum():
            raise EANError(
                "no pixel of the masks counts: all have a label that is not counted, so that nothing can be scored"
            )
        iou = percent(intersection, union)
        accuracy = percent(intersection, truth)
        self.table = {
            "mIoU": mean(iou),
            "mAcc": mean(accuracy),
            "aAcc": float(100 * intersection.sum() / truth.sum()),
            "images": len(results),
            "classes": [
                {"class": name, "IoU": one, "Acc": other}
                for name, one, other in zip(self.dataset_meta["classes"], iou, accuracy, strict=True)
            ],
        }
        return super().compute_metrics(results)


def percent(part: Any, whole: Any) -> list[float | None]:
    """100 * part / whole, None where the whole is 0."""
    return [100 * float(a) / float(b) if b else None for a, b in zip(part, whole, strict=True)]


def mean(values: list[float | None]) -> float:
    """Over the classes that are there."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else math.nan
