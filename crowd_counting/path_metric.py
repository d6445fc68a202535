"""How a path of a counting supernet is scored: 100 - 100 MAE / mean count on the validation images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from crowd_counting.data.loader import CrowdLoader
from crowd_counting.model.network import Counter, LastStage
from crowd_counting.model.training_model import inside_mask
from ean_core.data.normalize import Normalize
from ean_core.supernet.path_metric import Batch, PathMetric
from ean_core.supernet.prefix_cache import Batches

EXACT = 2.0**16
"""Errors are rounded to 1 / EXACT heads, so that float64 adds them exactly: a score does not depend on the number of
processes."""


class CountScore(PathMetric):
    """100 - 100 MAE / mean count, in percent; the loss is the sum of the absolute errors over the mean count.

    Args:
        counter: the supernet, for its layout.
        normalize: uint8 images to the counter's input.
        mean_count: annotated heads of a validation image, on average; above 0.
    """

    sums_count = 2

    def __init__(self, counter: Counter, normalize: Normalize, *, mean_count: float) -> None:
        self.normalize, self.stride, self.mean_count = normalize, counter.stride, mean_count
        self.uses_all_stages = not isinstance(counter.join, LastStage)

    def images(self, batch: Batch) -> Tensor:
        """Normalized images with zeros in the padding, as in `CountingModel.density`."""
        return self.normalize(batch["inputs"]) * inside_mask(batch["sizes"], batch["inputs"].shape[-2:])[:, None]

    def outputs(self, network: Counter, features: Sequence[Tensor], batch: Batch) -> Tensor:
        """Heads per cell, float32 (B, h, w), zero in the padding."""
        predicted = network.forward_head(features, batch["inputs"].shape[-2:])[:, 0]
        return predicted * inside_mask(-(-batch["sizes"] // self.stride), predicted.shape[-2:])

    def sums(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Absolute errors, and annotated heads."""
        errors = (outputs.double().sum(dim=(1, 2)) - batch["heads"]).abs()
        return torch.stack([(errors * EXACT).round().sum() / EXACT, batch["heads"].sum()])

    def score(self, sums: Sequence[float]) -> float:
        """Both sums are over the same images, so that their ratio is MAE / mean count."""
        errors, heads = sums
        return 100.0 - 100.0 * errors / heads

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum of the images' absolute count errors, in mean counts."""
        return (outputs.sum(dim=(1, 2)) - batch["heads"]).abs().sum() / self.mean_count


class CountBatches(Batches):
    """The batches of a loader as tensors: "inputs" (B, 3, H, W), "sizes" (B, 2) and annotated "heads" float64 (B,).

    Args:
        loader: of the images; it must not be iterated over elsewhere.
    """

    def __init__(self, loader: CrowdLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        self.loader.set_epoch(0)  # the same crops in every iteration
        for batch in self.loader:
            inputs, counts = batch["inputs"], [image.count for image in batch["images"]]
            heads = torch.tensor(counts, dtype=torch.float64, device=inputs.device)
            yield {"inputs": inputs, "sizes": batch["sizes"], "heads": heads}
