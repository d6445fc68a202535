"""Batches of an `ArraySource`, made on the device: no worker processes, no copies between memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ean_core.data.augment import Augment
from ean_core.data.image_sources import ArraySource
from ean_core.data.loader import Loader, Plan, checked_indices


class ArrayLoader(Loader):
    """Yields batches of an `ArraySource`; arguments as for `make_loader`."""

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
        # Sampled once for the whole epoch: neither batch size nor number of ranks changes an image's augmentation,
        # and there is one transfer to the GPU per epoch.
        params = self._augment.sample(count, height, width, generator).to(self._device) if self._augment else None
        indices = self._indices.to(self._device)
        # The order too is moved at once: a transfer from pageable memory in every step would synchronize.
        for positions in torch.cat(order).to(self._device).split([len(part) for part in order]):
            chosen = indices[positions]
            inputs = images[chosen]
            if self._augment and params:
                inputs = self._augment.apply(inputs, params.at(positions))
            yield {"inputs": inputs, "labels": labels[chosen]}
