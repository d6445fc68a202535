"""What the supernet, the search and the retraining share: the data they see, and a claim on a directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from classification.recipe import Recipe
from ean_core.data import ImageData, class_balanced, load_data, make_loader, search_split
from ean_core.data.loader import Loader
from ean_core.data.normalize import Normalise
from ean_core.networks import StagedNetwork
from ean_core.networks.checkpoint import ModelSpec
from ean_core.networks.pretrained import load_weights
from ean_core.networks.weights_file import TrunkSpec, read_weights, weights_identity
from ean_core.training.device_defaults import Placement, describe, for_device
from ean_core.training.run_lock import WorkDir
from ean_core.training.schedule import TrainSettings
from ean_core.utils.distributed import first_does, is_first, rank_and_world
from ean_core.utils.errors import EANError

PARTS = ("supernet", "search", "network", "comparison", "correlation")
"""What the claims on parts of a work directory call them."""


@dataclass(frozen=True)
class Job:
    """A recipe with its data read, and where and how it runs.

    Attributes:
        directory: the work directory.
        launcher: as `start_processes` returned it.
        resume: go on with what the directory holds.
        backends: further MMEngine visualisation backends.
    """

    recipe: Recipe
    data: ImageData
    directory: Path
    launcher: str = "none"
    resume: bool = False
    backends: tuple[str, ...] = ()

    @classmethod
    def start(
        cls,
        recipe: Recipe,
        *,
        data_root: str | Path,
        directory: str | Path,
        fast: bool = False,
        given: Collection[str] = (),
        **how: Any,
    ) -> Job:
        """Read the data; the first process does it before the others, so that only one downloads.

        All images of a job are of one size, so cuDNN may try its kernels and keep the fastest; a recipe's
        `deterministic` switches that off. What the recipe leaves to the device is chosen here, and with `fast` more:
        all but the fields that were `given`.
        """
        torch.backends.cudnn.benchmark = True
        read = cache(partial(load_data, recipe.data.name, data_root, image_size=recipe.data.image_size))
        first_does(read)
        placement = Placement.here(max(read().image_shape[1:]))
        recipe = for_device(recipe, placement, fast=fast, given=given)
        return cls(recipe, read(), Path(directory), **how)

    def describe(self) -> str:
        """One line: network, attention, data, and where it runs."""
        model, images = self.recipe.model, self.training_images()
        part = "" if self.recipe.data.train_per_class is None else f" (a subset of {len(self.data.train)})"
        return (
            f"{model.arch} with {model.attention}, {self.data.name}: {len(images)} training images{part}, "
            f"{len(self.data.test)} test images, {self.data.num_classes} classes, on {get_device()} "
            f"({rank_and_world()[1]} process(es)), writing to {self.directory}"
        )

    def work_dir(self, **how: Any) -> WorkDir:
        """The directory, for a claim on a part of it."""
        return WorkDir(self.directory, "classification", PARTS, **how)

    def describe_device(self) -> str:
        """One line: how this device runs the training steps."""
        return describe(self.recipe, Placement.here(max(self.data.image_shape[1:])))

    # -- data ---------------------------------------------------------------------------------------------------

    def training_images(self) -> torch.Tensor:
        """Indices (N,) of the training images, or of the recipe's class-balanced subset of them."""
        labels, recipe = self.data.train.labels, self.recipe.data
        if recipe.train_per_class is None:
            return torch.arange(len(labels))
        return class_balanced(labels, recipe.train_per_class, seed=recipe.split_seed)

    def split(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of the sub-training and the validation images of the search (section 5.1)."""
        images, recipe = self.training_images(), self.recipe.data
        labels, share = self.data.train.labels[images], recipe.val_fraction
        train, val = search_split(labels, recipe.val_per_class, fraction=share, seed=recipe.split_seed)
        return images[train], images[val]

    def train_loader(self, indices: torch.Tensor, settings: TrainSettings, *, seed: int) -> Loader:
        """Shuffled, augmented batches of this process's share."""
        rank, world = rank_and_world()
        if settings.batch_size % world:
            raise EANError(f"batch_size {settings.batch_size} cannot be shared evenly by {world} processes: change one")
        return make_loader(
            self.data.train,
            indices,
            batch_size=settings.batch_size // world,
            train=True,
            augment=self.recipe.data.augment,
            seed=seed,
            device=get_device(),
            workers=self.recipe.data.workers,
            rank=rank,
            world_size=world,
            drop_last=not settings.keep_last,
            classes=self.data.classes,
        )

    def eval_loader(self, source: Any, indices: torch.Tensor | None, *, batch_size: int, shared: bool) -> Loader:
        """Batches in order; `shared` deals them out to the processes, else every process gets all of them."""
        rank, world = rank_and_world() if shared else (0, 1)
        return make_loader(
            source,
            indices,
            batch_size=batch_size,
            train=False,
            device=get_device(),
            workers=self.recipe.data.workers,
            rank=rank,
            world_size=world,
            classes=self.data.classes,
        )

    def normalise(self, *, channels_last: bool) -> Normalise:
        """With the data's mean and deviation, on the device."""
        return Normalise(self.data.mean, self.data.std, channels_last=channels_last).to(get_device())

    # -- network ------------------------------------------------------------------------------------------------

    def spec(self, **changes: Any) -> ModelSpec:
        """The recipe's network for this data, share-full unless changed."""
        model = self.recipe.model
        spec = ModelSpec(
            arch=model.arch,
            num_classes=self.data.num_classes,
            attention=model.attention,
            attention_options=dict(model.attention_options),
            in_channels=self.data.image_shape[0],
        )
        return dataclasses.replace(spec, **changes)

    def build(self, spec: ModelSpec) -> StagedNetwork:
        """A network with fresh weights, or the recipe's pretrained ones in its trunk."""
        network, source = spec.build(), self.recipe.model.pretrained
        if source is not None:
            fields = {one.name: getattr(spec, one.name) for one in dataclasses.fields(TrunkSpec)}
            report = load_weights(network, read_weights(source, arch=spec.arch), spec=TrunkSpec(**fields))
            if is_first():
                print(f"weights: {report}", flush=True)
        return network

    def starting_weights(self) -> dict[str, str]:
        """Which weights a network starts from, for a run's identity; empty from scratch."""
        source = self.recipe.model.pretrained
        return {} if source is None else {"pretrained": weights_identity(source, arch=self.recipe.model.arch)}

    def info(self) -> dict[str, Any]:
        """What a network file says of its data."""
        return {
            "classes": list(self.data.classes),
            "mean": list(self.data.mean),
            "std": list(self.data.std),
            "image_shape": list(self.data.image_shape),
            "resize": getattr(self.data.train, "resize", self.data.image_shape[1]),  # the shorter side before the crop
            "data": self.data_identity(),
        }

    def record_settings(self) -> dict[str, Any]:
        """What every record of a run says of it: the recipe and the data."""
        return {"recipe": self.recipe.to_dict(), "data": {**self.data_identity(), "note": self.data.note}}

    def data_identity(self) -> dict[str, Any]:
        """Which images: name, subset, split and fingerprint."""
        recipe, share = self.recipe.data, self.recipe.data.val_fraction
        return {
            "name": self.data.name,
            "fingerprint": self.data.fingerprint,
            "train_per_class": recipe.train_per_class,
            **({"val_per_class": recipe.val_per_class} if share is None else {"val_fraction": share}),
            "split_seed": recipe.split_seed,
            "augment": dataclasses.asdict(recipe.augment),
        }
