"""How a path of a counting supernet is scored: 100 - 100 MAE / mean count on the validation images.

Of several parts it is the mean of the parts' scores, so that it orders schemes as `relative_error` orders checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from crowd_counting.data.loader import CrowdLoader
from crowd_counting.data.points import CrowdImage
from crowd_counting.metrics import error_weights
from crowd_counting.model.network import Counter, LastStage
from crowd_counting.model.training_model import inside_mask
from ean_core.data.normalize import Normalize
from ean_core.supernet.path_metric import Batch, PathMetric
from ean_core.supernet.prefix_cache import Batches

EXACT = 2.0**16
"""Errors are rounded to 1 / EXACT people, so that float64 adds them exactly: a score does not depend on the number of
processes."""


class CountScore(PathMetric):
    """100 - 100 * relative error, in percent; the loss of an image is what its error adds to that of a mean image.

    Args:
        counter: the supernet, for its layout.
        normalize: uint8 images to the counter's input.
        images: all that are scored on, in whichever process; they decide what an error in each part weighs.
    """

    def __init__(self, counter: Counter, normalize: Normalize, images: Sequence[CrowdImage]) -> None:
        self.normalize, self.stride, self.count = normalize, counter.stride, len(images)
        self.weights = error_weights((image.part, image.count) for image in images)
        self.sums_count = len(self.weights)
        self.uses_all_stages = not isinstance(counter.join, LastStage)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts, in the order of the sums."""
        return tuple(self.weights)

    def images(self, batch: Batch) -> Tensor:
        """Normalized images with zeros in the padding, as in `CountingModel.density`."""
        return self.normalize(batch["inputs"]) * inside_mask(batch["sizes"], batch["inputs"].shape[-2:])[:, None]

    def outputs(self, network: Counter, features: Sequence[Tensor], batch: Batch) -> Tensor:
        """Heads per cell, float32 (B, h, w), zero in the padding."""
        predicted = network.forward_head(features, batch["inputs"].shape[-2:])[:, 0]
        return predicted * inside_mask(-(-batch["sizes"] // self.stride), predicted.shape[-2:])

    def sums(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Absolute errors of each part, float64 (parts,)."""
        errors = (outputs.double().sum(dim=(1, 2)) - batch["heads"]).abs()
        of_part = F.one_hot(batch["part"], len(self.weights)).to(errors)  # (B, parts)
        return (errors * EXACT).round() / EXACT @ of_part

    def score(self, sums: Sequence[float]) -> float:
        """100 - 100 * relative error of all images."""
        weighted = (weight * errors for weight, errors in zip(self.weights.values(), sums, strict=True))
        return 100.0 - 100.0 * sum(weighted)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum of the images' absolute errors, weighed so that their mean over all images is the relative error."""
        weights = torch.tensor(list(self.weights.values()), dtype=outputs.dtype, device=outputs.device)
        errors = (outputs.sum(dim=(1, 2)) - batch["heads"]).abs()
        return self.count * (weights[batch["part"]] * errors).sum()


class CountBatches(Batches):
    """The batches of a loader as tensors: "inputs" (B, 3, H, W), "sizes" (B, 2), annotated "heads" float64 (B,), and
    "part" int64 (B,), the position of each image's part in `parts`.

    Args:
        loader: of the images; it must not be iterated over elsewhere.
        parts: of the images, as `CountScore.parts`.
    """

    def __init__(self, loader: CrowdLoader, parts: Sequence[str]) -> None:
        self.loader, self.parts = loader, {part: position for position, part in enumerate(parts)}

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        self.loader.set_epoch(0)  # the same crops in every iteration
        for batch in self.loader:
            inputs, images = batch["inputs"], batch["images"]
            heads = torch.tensor([image.count for image in images], dtype=torch.float64, device=inputs.device)
            part = torch.tensor([self.parts[image.part] for image in images], device=inputs.device)
            yield {"inputs": inputs, "sizes": batch["sizes"], "heads": heads, "part": part}
