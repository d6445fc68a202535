"""How a task runs a path of its supernet on a batch, and what it measures of the outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Batch = Mapping[str, Tensor]
"""Tensors on the network's device, the images as "inputs" (B, C, H, W) among them; the others are the task's own."""


class PathMetric(ABC):
    """A task's measure of a path: sums that add over batches and processes, and the score that they give.

    The network runs in three parts, so that paths share the outputs of their first stages: its stem, its stages, and
    what follows them.

    Attributes:
        sums_count: k, how many sums there are.
        uses_all_stages: whether `outputs` needs the outputs of all stages; otherwise only the last one's.
    """

    sums_count: int
    uses_all_stages: bool = False

    @abstractmethod
    def images(self, batch: Batch) -> Tensor:
        """The input of the network's `forward_stem`, float32 (B, C, H, W)."""

    @abstractmethod
    def outputs(self, network: Any, features: Sequence[Tensor], batch: Batch) -> Tensor:
        """The network's outputs (B, ..) from the outputs of its stages, of which the last one is always there."""

    @abstractmethod
    def sums(self, outputs: Tensor, batch: Batch) -> Tensor:
        """What is summed over batches and processes, float64 (k,), on the outputs' device."""

    @abstractmethod
    def score(self, sums: Sequence[float]) -> float:
        """The score of all images in percent, higher for better paths, from the sums (k,)."""

    @abstractmethod
    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The batch's summed loss (), for methods that follow its gradient."""


class Top1(PathMetric):
    """The top-1 accuracy of a classifier; the loss is the cross-entropy.

    Args:
        normalize: uint8 "inputs" to the network's input; "labels" are int64 (B,).
    """

    sums_count = 2

    def __init__(self, normalize: Callable[[Tensor], Tensor]) -> None:
        self.normalize = normalize

    def images(self, batch: Batch) -> Tensor:
        """The normalized images, (B, C, H, W)."""
        return self.normalize(batch["inputs"])

    def outputs(self, network: Any, features: Sequence[Tensor], batch: Batch) -> Tensor:
        """The logits, (B, K), of the last stage's features."""
        return network.forward_head(features[-1])

    def sums(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Correctly classified images, and all images."""
        right = (outputs.argmax(dim=1) == batch["labels"]).sum()  # stays on the device: no synchronization per batch
        return torch.stack([right, torch.full_like(right, len(outputs))]).double()

    def score(self, sums: Sequence[float]) -> float:
        """Accuracy in percent, of the summed counts."""
        right, total = sums
        return 100.0 * right / total

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Summed cross-entropy of the batch, in nats."""
        return F.cross_entropy(outputs, batch["labels"], reduction="sum")
