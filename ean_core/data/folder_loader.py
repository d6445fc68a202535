"""Batches of a `FolderSource`, decoded by worker processes."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ean_core.data.augment import Augment
from ean_core.data.crops import eval_crop, train_crop
from ean_core.data.image_sources import FolderSource
from ean_core.data.loader import Loader, Plan, checked_indices
from ean_core.data.read_image import read_image
from ean_core.data.seeding import generator_for
from ean_core.utils.data_workers import guard_workers
from ean_core.utils.errors import EANError

Key = tuple[int, int]  # (epoch, position in the source); with the seed it determines the augmented image
Batch = dict[str, Tensor]


class FolderLoader(Loader):
    """Yields batches of a `FolderSource`; arguments as for `make_loader`."""

    def __init__(
        self,
        source: FolderSource,
        indices: Tensor | None,
        plan: Plan,
        *,
        augment: Augment | None,
        device: torch.device,
        workers: int,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(checked_indices(indices, len(source)), plan, classes=classes)
        if workers < 0:
            raise EANError(f"workers is {workers}: give 0 to decode in this process, or the number of processes")
        self.num_workers = workers
        self._device = device
        self._keys = _Keys()
        loader = DataLoader(
            _Images(source, seed=plan.seed, train=plan.train, augment=augment),
            batch_sampler=self._keys,
            num_workers=workers,
            collate_fn=_identity,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # otherwise each epoch would advance the global generator
        )
        self._workers = guard_workers(loader)
        # Keeps the DataLoader alive until this loader is gone. The garbage collector frees a runner, which is part of a
        # cycle, in any order: if queues go before the workers waiting on them, each worker takes 5 s to shut down.
        weakref.finalize(self, _release, self._workers)

    def _batches(self, epoch: int) -> Iterator[Batch]:
        order = self._plan.order(len(self._indices), self._generator(epoch))
        self._keys.batches = [[(epoch, index) for index in self._indices[part].tolist()] for part in order]
        for batch in self._workers:
            if isinstance(batch, EANError):
                try:
                    raise batch
                finally:
                    del batch  # the error's traceback refers to this frame: break the cycle
            yield {name: value.to(self._device, non_blocking=True) for name, value in batch.items()}


class _Keys:
    """The batch sampler: holds the keys of the next epoch's batches."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Images(Dataset):
    """Decodes and augments whole batches, in the worker process."""

    def __init__(self, source: FolderSource, *, seed: int, train: bool, augment: Augment | None) -> None:
        self._source = source
        self._seed = seed
        self._train = train
        # The random resized crop takes the place of the padded one.
        self._augment = replace(augment or Augment(), crop_padding=0)

    def __getitems__(self, keys: list[Key]) -> Batch | EANError:
        try:
            inputs = torch.stack([self._image(epoch, index) for epoch, index in keys])
        except EANError as error:
            # Returned for the loader to raise: DataLoader would replace its message by the worker's traceback.
            return error
        return {"inputs": inputs, "labels": self._source.labels[[index for _, index in keys]]}

    def _image(self, epoch: int, index: int) -> Tensor:
        """Decode and crop one file: uint8 (3, image_size, image_size)."""
        source = self._source
        image = read_image(source.paths[index], upright=source.upright)
        if not self._train:
            return eval_crop(image, source.image_size, source.resize)
        generator = generator_for(self._seed, epoch, index)
        return self._augment(train_crop(image, source.image_size, generator)[None], generator)[0]


def _identity(batch: Any) -> Any:
    """In place of collation, since `_Images` returns whole batches."""
    return batch


def _release(workers: DataLoader) -> None:
    """Do nothing: the workers end when the last reference to them is dropped."""
