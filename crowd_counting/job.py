"""A counting run: the recipe with its data and weights, all checked before training starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from crowd_counting.data.density_cache import DensityCache
from crowd_counting.data.holdout import Split, hold_out, load_split
from crowd_counting.data.loader import CrowdLoader
from crowd_counting.data.points import CrowdData, CrowdImage, check_decodes, total_count
from crowd_counting.model.network import Counter, CounterSpec
from crowd_counting.model.pretrained import InitialWeights, load_initial_weights, make_spec, read_initial_weights
from crowd_counting.recipe import DataRecipe, Recipe, TrainRecipe
from ean_core.data.duplicates import check_duplicates
from ean_core.data.loader import Plan
from ean_core.data.normalize import Normalize
from ean_core.training.work_dir import WorkDir
from ean_core.utils.devices import prefers_channels_last
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.own_code import code_of
from ean_core.utils.text import how_many


@dataclass(frozen=True, eq=False)
class Job:
    """A counting run, of any number of seeds.

    Attributes:
        recipe, data: recipe and data set.
        split: training and validation images.
        spec: specification that builds the counter.
        initial: weights that training starts from.
        batch_norm: "train" or "frozen", as resolved from recipe and weights.
        cache: density maps, or None to render them.
        weights_message: a line about the initial weights.
        directory: directory of the run, with a subdirectory per seed.
        launcher, resume, backends: as for `ean_core.training.runner.build_runner`.
    """

    recipe: Recipe
    data: CrowdData
    split: Split
    spec: CounterSpec
    initial: InitialWeights
    batch_norm: str
    cache: DensityCache | None
    weights_message: str
    directory: Path
    launcher: str = "none"
    resume: bool = False
    backends: tuple[str, ...] = ()

    @classmethod
    def prepare(cls, recipe: Recipe, data: CrowdData, *, directory: Path, **how: Any) -> Job:
        """Check everything that a run needs, and build the job.

        Raises:
            EANError: if a file is missing or damaged, or settings contradict each other.
        """
        if recipe.train.channels_last is None:
            layout = prefers_channels_last(get_device())
            recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, channels_last=layout))
        split_file, world = recipe.data.split, rank_and_world()[1]
        split = (
            load_split(Path(split_file), data)
            if split_file is not None
            else hold_out(data.train, seed=recipe.data.split_seed, share=recipe.data.val_share)
        )
        paths = {name: [image.path for image in part] for name, part in zip(("train", "val"), split, strict=True)}
        data = dataclasses.replace(data, remarks=(*data.remarks, *check_duplicates(paths, data.train[0].path.parent)))
        initial = read_initial_weights(recipe.model.weights, arch=recipe.model.arch)
        spec = make_spec(recipe.model, initial)
        batch_norm = recipe.train.batch_norm or ("train" if initial.source is None else "frozen")
        if batch_norm == "frozen" and initial.source is None:
            raise EANError(
                "batch norm 'frozen' keeps the statistics of the initial weights, but there are none: give --weights, "
                "or --batch-norm train"
            )
        for section in filter(None, (recipe.train, recipe.supernet)):
            if section.batch_size % world:
                raise EANError(
                    f"{section.section}.batch_size {section.batch_size} cannot be divided evenly among {world} "
                    "processes: change either"
                )
        cache = None
        if recipe.data.cache is not None:
            cache = DensityCache(recipe.data.cache, data, kernel=recipe.data.kernel, stride=recipe.model.stride)
        weights_message = load_initial_weights(spec.build().trunk, initial, spec)  # checked on a temporary counter
        check_decodes((*data.train, *data.test))
        return cls(recipe, data, split, spec, initial, batch_norm, cache, weights_message, directory, **how)

    def describe(self) -> str:
        """One line about the counter, the data and the device."""
        train, val = self.split
        world = rank_and_world()[1]
        layout = "channels_last" if self.recipe.train.channels_last else "channels_first"
        recipe, attention, empty = self.recipe.train, self.spec.attention, self.data.empty_scenes
        nobody = f" ({empty['images']} of the first two without people)" if empty else ""
        return (
            f"{self.spec.arch} {f'with {attention}' if attention else 'without attention'}, loss {recipe.loss}, batch "
            f"norm {self.batch_norm}, {how_many(recipe.epochs, 'epoch')}, batch size {recipe.batch_size}, "
            f"{recipe.precision}, {layout}; {self.data.name}: {len(train)} training, {len(val)} validation and "
            f"{len(self.data.test)} test images{nobody}, on {get_device().upper()}, {how_many(world, 'process')}, work "
            f"directory {self.directory}"
        )

    def identity(self, *, seed: int) -> dict[str, Any]:
        """The settings that identify a run: recipe, data, split, weights and seed."""
        train, val = self.split
        return {
            "part": "counter",
            "model": dataclasses.asdict(self.spec),
            "weights": self.initial.identity,
            "data": {
                "name": self.data.name,
                "fingerprint": self.data.fingerprint(),
                "content": self.data.content,
                "images": {"train": len(train), "val": len(val), "test": len(self.data.test)},
                "val": [image.name for image in val],
                **({"empty": self.data.empty_scenes} if self.data.empty_scenes else {}),
                **{
                    name: value
                    for name, value in dataclasses.asdict(self.recipe.data).items()
                    if name not in ("part", "annotations", "empty", "split", "val_share", "split_seed")
                },
            },
            "train": {**dataclasses.asdict(self.recipe.train), "batch_norm": self.batch_norm},
            "seed": seed,
            **code_of(self.spec.attention),
        }

    def work_dir(self) -> WorkDir:
        """The run's directory with the settings that all its seeds share, for `claim`."""
        same = {name: value for name, value in self.identity(seed=0).items() if name not in ("part", "seed")}
        return WorkDir(self.directory, "crowd counting", ("counter",), settings=same)

    def counter(self) -> Counter:
        """Build a counter with the initial weights and a bias that predicts the training images' mean density."""
        counter = self.spec.build()
        load_initial_weights(counter.trunk, self.initial, self.spec)
        train, _ = self.split
        pixels = sum(image.size[0] * image.size[1] for image in train)
        counter.set_initial_density(total_count(train) / pixels * counter.stride**2)
        counter.freeze_stages(self.recipe.model.frozen_stages)
        if self.batch_norm == "frozen":
            counter.freeze_batch_norm()
        return counter

    def normalize(self) -> Normalize:
        """The normalization that the initial weights were trained with, on the device."""
        layout = self.recipe.train.channels_last
        return Normalize(self.initial.mean, self.initial.std, channels_last=layout).to(get_device())

    def train_loader(self, recipe: TrainRecipe, *, seed: int) -> CrowdLoader:
        """A loader of shuffled crops of the training images, this process's share of a section's batches."""
        rank, world = rank_and_world()
        plan = Plan(recipe.batch_size // world, train=True, seed=seed, rank=rank, world_size=world)
        return CrowdLoader(
            self.split[0], plan, self.recipe.data, stride=self.spec.stride, device=get_device(), cache=self.cache
        )

    def val_loader(self) -> CrowdLoader:
        """A loader of whole validation images at batch size 1, this process's share."""
        rank, world = rank_and_world()
        plan = Plan(1, train=False, rank=rank, world_size=world)
        return whole_images(self.split[1], self.recipe.data, plan=plan, stride=self.spec.stride)


def whole_images(
    images: tuple[CrowdImage, ...], recipe: DataRecipe | None = None, *, stride: int, plan: Plan | None = None
) -> CrowdLoader:
    """A loader of whole images at batch size 1, in order."""
    return CrowdLoader(images, plan or Plan(1, train=False), recipe or DataRecipe(), stride=stride, device=get_device())
