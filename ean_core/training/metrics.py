"""Classification metrics summed on the device, exact for any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError

FIVE = 5
"""Of no more classes than this, the correct one is always among the first five."""


class Confusion(BaseMetric):
    """Top-1 and top-5 accuracy in percent (top-5 only with more than five classes), the confusion matrix, and which
    images are classified correctly.

    MMEngine collects results in a file per process and truncates the list to the data set's length; sums need neither.

    Attributes:
        matrix: after an evaluation, counts (K, K), rows the true class and columns the predicted one.
        correct: after an evaluation, whether each image was classified correctly: bool (N,) on the CPU, in the order
            of the data set, which the processes are dealt in turn (`ean_core.data.loader.Plan`).
    """

    default_prefix = ""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.matrix: Tensor | None = None
        self.correct: Tensor | None = None
        self.counts: Tensor | None = None  # one running sum: a matrix per batch would fill the memory
        self.flags: list[Tensor] = []

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        """Add a batch's counts; `data_samples` are `ImageClassifier`'s predictions."""
        del data_batch
        for sample in data_samples:
            logits, labels = sample["logits"], sample["labels"]
            ranked = logits.topk(min(FIVE, self.num_classes), dim=1).indices  # (B, 5)
            first = logits.argmax(dim=1)  # topk puts another one of equal logits first, which bfloat16 has many of
            pairs = labels * self.num_classes + first
            matrix = torch.bincount(pairs, minlength=self.num_classes**2)
            right = first == labels
            top5 = (right | (ranked == labels[:, None]).any(dim=1)).sum()
            non_finite = (~logits.isfinite()).any(dim=1).sum()
            counts = torch.cat([matrix, top5[None], non_finite[None]])
            self.counts = counts if self.counts is None else self.counts + counts
            self.flags.append(right)

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum over batches and processes.

        Raises:
            EANError: in all processes, if logits are not finite, since they would still be ranked.
        """
        del size
        counts, self.counts = self.counts, None
        flags, self.flags = self.flags, []
        if counts is None:  # a process without images
            counts = torch.zeros(self.num_classes**2 + 2, dtype=torch.int64, device=get_device())
        if dist.is_initialized():
            dist.all_reduce(counts)
        self.matrix = counts[:-2].view(self.num_classes, self.num_classes).cpu()
        if non_finite := int(counts[-1]):
            raise EANError(
                f"the network's outputs are not finite for {non_finite} of {int(self.matrix.sum())} images: its "
                "training diverged, so train it again with a lower learning rate"
            )
        self.correct = gather_dealt(flags, int(self.matrix.sum()), device=counts.device)
        return self.compute_metrics([counts])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Top-1 and top-5 accuracy in percent, and the number of images, from the summed counts."""
        counts = results[0].double().cpu()
        matrix, total = counts[:-2].view(self.num_classes, self.num_classes), counts[:-2].sum()
        top1, top5 = (float(100 * right / total) for right in (matrix.diagonal().sum(), counts[-2]))
        return {"top1": top1, **({"top5": top5} if self.num_classes > FIVE else {}), "images": int(total)}


def gather_dealt(flags: Sequence[Tensor], count: int, *, device: torch.device) -> Tensor:
    """Put together what each process knows of its share of the images.

    Args:
        flags: this process's batches, bool (B,), in order; its images are every `world_size`-th one from its rank on.
        count: images of all processes.
        device: of the exchange.

    Returns:
        bool (count,) on the CPU, in the order of the data set.
    """
    rank, world = rank_and_world()
    whole = torch.zeros(count, dtype=torch.uint8, device=device)
    if flags:
        whole[rank::world] = torch.cat(list(flags)).to(torch.uint8)
    if dist.is_initialized():
        dist.all_reduce(whole)
    return whole.bool().cpu()
