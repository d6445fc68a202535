"""How a path of a segmentation supernet is scored: mean IoU on the validation images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ean_core.supernet.path_metric import Batch, PathMetric
from ean_core.supernet.prefix_cache import Batches
from ean_core.utils.errors import EANError
from segmentation.data.sampling import SeededIndex
from segmentation.metric import mean, percent
from segmentation.model.logits_network import Logits


class MeanIoU(PathMetric):
    """The mean IoU in percent over the classes that occur; the loss is the mean cross-entropy of an image's pixels.

    Args:
        classes: their number K.
        preprocess: the segmentor's data preprocessor.
        ignored: label of the pixels that do not count.
    """

    uses_all_stages = True

    def __init__(self, classes: int, preprocess: nn.Module, *, ignored: int) -> None:
        self.classes, self.preprocess, self.ignored = classes, preprocess, ignored
        self.sums_count = 3 * classes

    def images(self, batch: Batch) -> Tensor:
        """Normalized images; those that are float already are taken as they are."""
        inputs = batch["inputs"]
        if inputs.is_floating_point():
            return inputs
        samples: list[Any] = [_Sample() for _ in inputs]  # receives the padding, which `outputs` takes off again
        return self.preprocess({"inputs": list(inputs), "data_samples": samples}, False)["inputs"]

    def outputs(self, network: Logits, features: Sequence[Tensor], batch: Batch) -> Tensor:
        """Logits (B, K, H, W) of the labels' size, as `EncoderDecoder.postprocess_result` makes them."""
        padded, (height, width) = self.images(batch).shape[-2:], batch["inputs"].shape[-2:]
        logits = network.resize(network.forward_head(features), padded)[..., :height, :width]
        size = batch["labels"].shape[-2:] if "labels" in batch else (height, width)
        return network.resize(logits, size)

    def sums(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Pixels of every class that are both predicted and true, predicted, and true."""
        labels = batch["labels"].long()
        counted = labels != self.ignored
        true, predicted = labels[counted], outputs.argmax(dim=1)[counted]
        parts = (true[true == predicted], predicted, true)
        return torch.cat([torch.bincount(part, minlength=self.classes)[: self.classes] for part in parts]).double()

    def score(self, sums: Sequence[float]) -> float:
        """The mean over the classes of intersection over union."""
        both, predicted, true = np.array(sums).reshape(3, self.classes)
        return mean(percent(both, predicted + true - both))

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Sum of the images' mean cross-entropies over counted pixels, in nats."""
        labels = batch["labels"].long()
        losses = F.cross_entropy(outputs, labels, ignore_index=self.ignored, reduction="none").flatten(1)  # (B, H W)
        counted = (labels != self.ignored).flatten(1).sum(dim=1)
        return (losses.sum(dim=1) / counted.clamp(min=1)).sum()


class _Sample:
    """Takes what the data preprocessor says of an image."""

    def set_metainfo(self, info: dict[str, Any]) -> None:
        """Ignore the information that mmsegmentation hands over."""


class LabeledImages(Batches):
    """Images of a data set one by one, with their labels, as its pipeline gives them.

    A batch is {"inputs": uint8 (1, 3, h, w), "labels": uint8 (1, H, W)}.

    Args:
        dataset: with a test pipeline.
        indices: of the images.
        device: of the batches.
    """

    def __init__(self, dataset: Any, indices: Sequence[int], *, device: str) -> None:
        self.dataset, self.indices, self.device = dataset, list(indices), device

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Batch]:
        for index in self.indices:
            packed = self.dataset[index]
            labels = packed["data_samples"].gt_sem_seg.data.to(torch.uint8)  # (1, H, W)
            yield {"inputs": packed["inputs"][None].to(self.device), "labels": labels.to(self.device)}


class TrainingCrops(Batches):
    """Augmented crops of training images, normalized and padded as in training, the same in every iteration.

    A batch is {"inputs": float32 (B, 3, h, w)}.

    Args:
        dataset: with a training pipeline.
        count: number of images, the first of the shuffled ones.
        batch_size: images of a batch, or somewhat more, so that no batch is left with a single one.
        preprocess: the segmentor's data preprocessor.
        seed: of the order and of the augmentation.

    Raises:
        EANError: for fewer than two images a batch.
    """

    def __init__(self, dataset: Any, preprocess: nn.Module, *, count: int, batch_size: int, seed: int) -> None:
        self.dataset, self.preprocess, self.seed = dataset, preprocess, seed
        order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count]
        if min(len(order), batch_size) < 2:
            raise EANError(
                f"BN calibration over {len(order)} images in batches of {batch_size}: batch norm after global pooling "
                "needs at least 2 images, so give search.bn_images and search.bn_batch_size at least that"
            )
        self.batches = [part.tolist() for part in order.tensor_split(max(1, len(order) // batch_size))]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for indices in self.batches:
            seeds = [int(np.random.SeedSequence((self.seed, index)).generate_state(1)[0]) for index in indices]
            packed = [self.dataset[SeededIndex(*pair)] for pair in zip(indices, seeds, strict=True)]
            data = {name: [item[name] for item in packed] for name in ("inputs", "data_samples")}
            yield {"inputs": self.preprocess(data, True)["inputs"]}
