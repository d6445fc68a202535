"""Batches of an `ArraySource`, made on the device: no worker processes, no copies between memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ean_core.data.augment import Augment
from ean_core.data.loader import Loader, Plan, checked_indices
from ean_core.data.sources import ArraySource


class ArrayLoader(Loader):
    """See `make_loader`."""

    def __init__(
        self,
        source: ArraySource,
        indices: Tensor | None,
        plan: Plan,
        *,
        augment: Augment | None,
        device: torch.device,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(checked_indices(indices, len(source)), plan, classes=classes)
        self._source = source
        self._augment = augment
        self._device = device

    def _batches(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        images, labels = self._source.on(self._device)
        generator = self._generator(epoch)
        count, (height, width) = len(self._indices), images.shape[2:]
        order = self._plan.order(count, generator)
        if not order:  # a process without images
            return
        # One draw for each image of the epoch, dealt out with it: neither the batch size nor the number of ranks
        # changes what happens to an image, and a GPU is not made to wait for five more transfers a batch.
        draws = self._augment.draw(count, height, width, generator).to(self._device) if self._augment else None
        indices = self._indices.to(self._device)
        # Nor for the order: a transfer from ordinary memory in every step would wait for the steps before it.
        for positions in torch.cat(order).to(self._device).split([len(part) for part in order]):
            chosen = indices[positions]
            inputs = images[chosen]
            if self._augment and draws:
                inputs = self._augment.apply(inputs, draws.at(positions))
            yield {"inputs": inputs, "labels": labels[chosen]}
