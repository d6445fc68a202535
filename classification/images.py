"""A recipe's images: which ones train, which score schemes, which test, and the loaders over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor

from classification.recipe import DataRecipe
from ean_core.data import ImageData, OneEpoch, class_balanced, make_loader, search_split
from ean_core.data.loader import Loader
from ean_core.data.normalize import Normalize
from ean_core.training.settings import TrainSettings
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Images:
    """The images of a data set as a recipe uses them.

    Attributes:
        recipe: subset, split, augmentation.
        data: the data set.
    """

    recipe: DataRecipe
    data: ImageData

    def training(self) -> Tensor:
        """Indices (N,) of the training images, or of the recipe's class-balanced subset of them."""
        labels = self.data.train.labels
        if self.recipe.train_per_class is None:
            return torch.arange(len(labels))
        return class_balanced(labels, self.recipe.train_per_class, seed=self.recipe.split_seed)

    def split(self) -> tuple[Tensor, Tensor]:
        """Indices of the images that train the supernet, and of those that score schemes (section 5.1).

        Raises:
            EANError: if a class has too few images.
        """
        images, recipe = self.training(), self.recipe
        if self.data.val is not None:  # the folder itself says what schemes are scored on
            given = torch.isin(images, self.data.val)
            return images[~given], images[given]
        labels = self.data.train.labels[images]
        train, val = search_split(labels, recipe.val_per_class, fraction=recipe.val_fraction, seed=recipe.split_seed)
        return images[train], images[val]

    def train_loader(self, indices: Tensor, settings: TrainSettings, *, seed: int) -> Loader:
        """Shuffled, augmented batches of this process's share.

        Raises:
            EANError: if the processes cannot share the batches evenly.
        """
        rank, world = rank_and_world()
        if settings.batch_size % world:
            raise EANError(f"batch_size {settings.batch_size} cannot be shared evenly by {world} processes: change one")
        return make_loader(
            self.data.train,
            indices,
            batch_size=settings.batch_size // world,
            train=True,
            augment=self.recipe.augment,
            seed=seed,
            device=get_device(),
            workers=self.recipe.workers,
            rank=rank,
            world_size=world,
            drop_last=not settings.keep_last,
            classes=self.data.classes,
        )

    def calibration_loader(self, *, count: int, batch_size: int, seed: int) -> OneEpoch:
        """The first of the supernet's shuffled training images, augmented as in its training; the same every time and
        in all processes.

        Without the augmentation the statistics are not those that the weights were trained with: crops of a padded
        image have black borders, which cost the paths of a ResNet-20 on CIFAR-100 two points of accuracy.
        """
        train, _ = self.split()
        shuffled = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
        return OneEpoch(
            make_loader(
                self.data.train,
                shuffled[:count],
                batch_size=batch_size,
                train=True,
                augment=self.recipe.augment,
                seed=seed,
                device=get_device(),
                workers=self.recipe.workers,
            )
        )

    def eval_loader(self, source: Any, indices: Tensor | None, *, batch_size: int, shared: bool) -> Loader:
        """Batches in order, without augmentation.

        Args:
            source: `data.train` or `data.test`.
            indices: of the images; None for all.
            batch_size: of a process.
            shared: deal the batches out to the processes; otherwise every process gets all of them.
        """
        rank, world = rank_and_world() if shared else (0, 1)
        return make_loader(
            source,
            indices,
            batch_size=batch_size,
            train=False,
            device=get_device(),
            workers=self.recipe.workers,
            rank=rank,
            world_size=world,
            classes=self.data.classes,
        )

    def normalize(self, *, channels_last: bool) -> Normalize:
        """Normalization by the data's mean and deviation, on the device."""
        return Normalize(self.data.mean, self.data.std, channels_last=channels_last).to(get_device())
