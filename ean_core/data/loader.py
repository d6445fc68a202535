"""Base of the loaders: the order of the images, by epoch and rank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ean_core.data.seeding import generator_for
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class LoaderDataset:
    """What MMEngine reads from `loader.dataset`: the number of images over all ranks, and the class names."""

    count: int
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.count

    @property
    def metainfo(self) -> dict[str, tuple[str, ...]]:
        return {"classes": self.classes} if self.classes else {}


@dataclass(frozen=True)
class Plan:
    """How images are divided into batches and among ranks, for every kind of source.

    Args:
        batch_size: images in a batch of one rank.
        train: shuffle every epoch, and give every rank the same number of images; otherwise all images in order.
        seed: of the order and of augmentation.
        rank: this process, of `world_size`.
        drop_last: drop the last, smaller batch unless it is the only one; None: only when training.
    """

    batch_size: int
    train: bool
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    drop_last: bool | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise EANError(f"batch_size is {self.batch_size}: give at least 1 image")
        if self.seed < 0:
            raise EANError(f"seed is {self.seed}: give 0 or more")
        if not 0 <= self.rank < self.world_size:
            raise EANError(f"rank is {self.rank} of world_size {self.world_size}: give a rank from 0, below world_size")

    def share(self, count: int) -> int:
        """Number of this rank's images out of `count`, before `drop_last`."""
        return count // self.world_size if self.train else len(range(self.rank, count, self.world_size))

    def batches(self, count: int) -> int:
        """Number of this rank's batches for `count` images in total."""
        share = self.share(count)
        drop_last = self.train if self.drop_last is None else self.drop_last
        return max(1, share // self.batch_size) if drop_last and share else -(-share // self.batch_size)

    def order(self, count: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """This rank's batches, as int64 positions in 0 to `count` - 1.

        All ranks draw the same permutation and take their share of it.
        """
        order = torch.randperm(count, generator=generator) if self.train else torch.arange(count)
        positions = order[self.rank :: self.world_size][: self.share(count)]
        return positions.split(self.batch_size)[: self.batches(count)]  # an empty tensor would split into one batch


class Loader(ABC):
    """Batches of a source; one iteration is one epoch.

    Yields `{"inputs": uint8 (B, C, H, W), "labels": int64 (B,)}` on the loader's device. Order and augmentation depend
    on seed, epoch and image only: a resumed run sees the same batches as an uninterrupted one.

    Attributes:
        dataset: its length is the number of images over all ranks.
        batch_size: images in a batch of this rank.
        num_workers: worker processes; 0 if this process makes the batches.
    """

    num_workers: int = 0

    def __init__(self, indices: Tensor, plan: Plan, *, classes: Sequence[str] = ()) -> None:
        if len(indices) == 0:
            raise EANError("the indices are empty: give at least one index, or None for all images")
        if plan.train and plan.share(len(indices)) == 0:
            raise EANError(
                f"{len(indices)} images cannot be divided among {plan.world_size} processes: start fewer processes"
            )
        self.dataset = LoaderDataset(len(indices), tuple(classes))
        self.batch_size = plan.batch_size
        self._indices = indices
        self._plan = plan
        self._epoch = 0

    @property
    def sampler(self) -> Loader:
        """The loader itself, because MMEngine's `DistSamplerSeedHook` calls `sampler.set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; by default epochs follow each other."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Number of batches of this rank."""
        return self._plan.batches(len(self._indices))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        epoch = self._epoch
        self._epoch += 1
        return self._batches(epoch)

    @abstractmethod
    def _batches(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of one epoch."""

    def _generator(self, epoch: int) -> torch.Generator:
        """The generator of an epoch, the same on every rank."""
        return generator_for(self._plan.seed, epoch)


class OneEpoch:
    """Repeats a loader's first epoch, for augmentation that must be the same in every iteration.

    Args:
        loader: must not be iterated over elsewhere.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        self.loader.set_epoch(0)
        return iter(self.loader)


def checked_indices(indices: Tensor | None, count: int) -> Tensor:
    """`indices` on the CPU, or 0 to `count` - 1 if None; raises `EANError` unless they are int64 (N,) in that range."""
    if indices is None:
        return torch.arange(count)
    if indices.dtype != torch.int64 or indices.ndim != 1:
        raise EANError(f"indices are {indices.dtype} of shape {tuple(indices.shape)}: give torch.int64 of shape (N,)")
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        raise EANError(
            f"indices range from {indices.min()} to {indices.max()} but there are {count} images: give 0 to {count - 1}"
        )
    return indices.cpu()
