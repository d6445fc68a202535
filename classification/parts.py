"""What the supernet, the search and the retraining share: the data they see, and a claim on a directory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from classification.recipe import Recipe
from ean_core.checkpoint import ModelSpec
from ean_core.data import ImageData, class_balanced, load_data, make_loader, search_split
from ean_core.data.loader import Loader
from ean_core.errors import EANError, first_line
from ean_core.files import write_atomic
from ean_core.normalise import Normalise
from ean_core.training.distributed import first_does, rank_and_world
from ean_core.training.schedule import TrainSettings


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
    def start(cls, recipe: Recipe, *, data_root: str | Path, directory: str | Path, **how: Any) -> Job:
        """Read the data; the first process does it before the others, so that only one downloads."""
        read = cache(partial(load_data, recipe.data.name, data_root, image_size=recipe.data.image_size))
        first_does(read)
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
        train, val = search_split(self.data.train.labels[images], recipe.val_per_class, seed=recipe.split_seed)
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

    def info(self) -> dict[str, Any]:
        """What a network file says of its data."""
        return {
            "classes": list(self.data.classes),
            "mean": list(self.data.mean),
            "std": list(self.data.std),
            "image_shape": list(self.data.image_shape),
            "data": self.data_identity(),
        }

    def data_identity(self) -> dict[str, Any]:
        """Which images: name, subset, split and fingerprint."""
        recipe = self.recipe.data
        return {
            "name": self.data.name,
            "fingerprint": self.data.fingerprint,
            "train_per_class": recipe.train_per_class,
            "val_per_class": recipe.val_per_class,
            "split_seed": recipe.split_seed,
            "augment": dataclasses.asdict(recipe.augment),
        }


HARMLESS = frozenset(
    {
        "data.workers",
        "search.steps",
        "search.max_evaluations",
        "search.returned",
        "search.batch_size",
        *(
            f"{part}.{name}"
            for part in ("supernet", "train")
            for name in ("val_interval", "save_interval", "random_paths")
        ),
    }
)
"""What may differ between a run and its resumption: it changes no result that was recorded."""


def claim(directory: Path, identity: Mapping[str, Any], *, resume: bool, begun: Sequence[Path]) -> None:
    """Take a directory for a run, or make sure that it holds the same run.

    To be called when everything is built and only the work itself is left, so that a mistaken setting claims nothing.

    Args:
        directory: gets run.json.
        identity: all that the result depends on.
        resume: whether going on with what is there was asked for.
        begun: files that a run leaves behind; a claim without any of them has no work to lose, and is replaced.

    Raises:
        EANError: if it holds a run and `resume` is false, or one that differs in a named setting.
    """
    path, now = directory / "run.json", json.loads(json.dumps(identity))

    def take() -> None:
        if any(one.exists() for one in begun):
            if not resume:
                raise EANError(
                    f"{directory} holds an earlier run: give --resume to go on with it, or another --work-dir"
                )
            check_same(read_claim(path), now, what=f"{directory} cannot be resumed: it was started with")
        write_atomic(path, json.dumps(now, indent=2) + "\n")

    first_does(take)


def read_claim(path: Path) -> dict[str, Any]:
    """What run.json says.

    Raises:
        EANError: if it is missing or damaged.
    """
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EANError(f"{path} cannot be read ({first_line(error)}): give another --work-dir") from None
    if not isinstance(earlier, dict):
        raise EANError(f"{path} does not say what run {path.parent} holds: give another --work-dir")
    return earlier


def check_same(earlier: Mapping[str, Any], now: Mapping[str, Any], *, what: str) -> None:
    """Refuse two identities that differ.

    Raises:
        EANError: `what`, then the first setting that differs with both its values.
    """
    earlier, now = json.loads(json.dumps([earlier, now]))  # as files hold them: tuples are lists there
    if difference := first_difference(earlier, now):
        name, old, new = difference
        raise EANError(f"{what} {name} = {old!r}, and this run has {new!r}; give the same, or another --work-dir")


def first_difference(earlier: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first setting in which two identities differ: its dotted name, and both values; None if they agree."""
    if isinstance(earlier, Mapping) and isinstance(now, Mapping):
        for key in [*earlier, *(key for key in now if key not in earlier)]:
            dotted = f"{name}.{key}" if name else key
            found = None if dotted in HARMLESS else first_difference(earlier.get(key), now.get(key), dotted)
            if found:
                return found
        return None
    return None if earlier == now else (name, earlier, now)
