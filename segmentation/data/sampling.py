"""Image order and augmentation as a function of seed, epoch and image, so that no random state needs saving.

Runs that are resumed, or use other numbers of workers or processes, see the same augmented images.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS


class SeededIndex(NamedTuple):
    """An image index with the seed of its augmentation.

    Attributes:
        index: index of the image in its data set.
        seed: seed of its augmentation.
    """

    index: int
    seed: int


@DATA_SAMPLERS.register_module()
class SeededSampler(InfiniteSampler):
    """MMEngine's infinite sampler, with an augmentation seed for every index.

    It inherits `skip`, which lets a resumed run continue at its position without loading earlier images.
    """

    def _infinite_indices(self) -> Iterator[SeededIndex]:
        generator = torch.Generator().manual_seed(self.seed)
        for epoch in itertools.count():
            order = torch.randperm(self.size, generator=generator) if self.shuffle else torch.arange(self.size)
            for index in order.tolist():
                yield SeededIndex(index, int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0]))


class SeededPairs:
    """A data set of images and masks, augmented as a `SeededIndex` says; put it before mmsegmentation's base class."""

    def make_pair(self, image: Path, mask: Path) -> dict[str, Any]:
        """An item of mmsegmentation's `load_data_list`."""
        return {
            "img_path": str(image),
            "seg_map_path": str(mask),
            "seg_fields": [],
            "label_map": self.label_map,
            "reduce_zero_label": self.reduce_zero_label,
        }

    def __getitem__(self, item: int | SeededIndex) -> Any:
        """Load one pair through the pipeline."""
        if isinstance(item, SeededIndex):
            random.seed(item.seed)
            np.random.seed(item.seed)  # noqa: NPY002 (mmcv's transforms use NumPy's global generator)
            item = item.index
        return super().__getitem__(item)  # type: ignore[misc]
