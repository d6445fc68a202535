"""Which image comes when, and with which randomness: a function of seed, epoch and image, so that nothing is saved.

A resumed run, one with other worker processes, and one with more processes all see the same augmented images.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS


class Draw(NamedTuple):
    """An image to be shown.

    Attributes:
        index: of the image in its data set.
        seed: of its augmentation.
    """

    index: int
    seed: int


@DATA_SAMPLERS.register_module()
class SeededSampler(InfiniteSampler):
    """MMEngine's endless sampler, whose every index comes with the seed of its augmentation.

    It inherits `skip`, with which a resumed run goes on at its place without loading what is past.
    """

    def _infinite_indices(self) -> Iterator[Any]:
        generator = torch.Generator().manual_seed(self.seed)
        for epoch in itertools.count():
            order = torch.randperm(self.size, generator=generator) if self.shuffle else torch.arange(self.size)
            for index in order.tolist():
                yield Draw(index, int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0]))
