"""A recipe with its data read and checked: all that can be wrong is found here, before training starts."""

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
from crowd_counting.data.points_file import load_points_file
from crowd_counting.data.shanghaitech import load_shanghaitech
from crowd_counting.model.network import Counter, CounterSpec
from crowd_counting.model.pretrained import Start, load_start, make_spec, read_start
from crowd_counting.recipe import DataRecipe, Recipe
from ean_core.data.duplicates import check_duplicates
from ean_core.data.loader import Plan
from ean_core.data.normalize import Normalize
from ean_core.training.run_lock import WorkDir
from ean_core.utils.devices import prefers_channels_last
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError


def load_crowd(*, part: str | None, annotations: str | None, data_root: str, refuse_copies: bool = False) -> CrowdData:
    """The data that --part or --annotations names.

    Raises:
        EANError: if it cannot be read, or with `refuse_copies` if test images are trained on.
    """
    if (part is None) == (annotations is None):
        raise EANError("give either --part A, B or demo, or --annotations FILE")
    data = load_points_file(annotations) if annotations is not None else load_shanghaitech(data_root, str(part))
    files = {"train": [image.path for image in data.train], "test": [image.path for image in data.test]}
    root = Path(data_root) if annotations is None else Path(annotations).parent
    return dataclasses.replace(data, remarks=(*data.remarks, *check_duplicates(files, root, refuse=refuse_copies)))


@dataclass(frozen=True, eq=False)
class Job:
    """A counting run, all its seeds.

    Attributes:
        recipe, data: what and on what.
        split: training and validation images.
        spec: builds the counter.
        start: weights it starts from.
        batch_norm: "train" or "frozen", decided.
        cache: of density maps, or None.
        started: a line on the weights it starts from.
        directory: of the run; seeds have theirs inside.
        launcher, resume, backends: as for the shared runner.
        seeds: all of the run's; its summary is of them.
    """

    recipe: Recipe
    data: CrowdData
    split: Split
    spec: CounterSpec
    start: Start
    batch_norm: str
    cache: DensityCache | None
    started: str
    directory: Path
    launcher: str = "none"
    resume: bool = False
    backends: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    @classmethod
    def prepare(cls, recipe: Recipe, data: CrowdData, *, directory: Path, **how: Any) -> Job:
        """Check everything that a run needs.

        Raises:
            EANError: if a file is missing or damaged, or settings do not go together.
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
        held = {name: [image.path for image in part] for name, part in zip(("train", "val"), split, strict=True)}
        data = dataclasses.replace(data, remarks=(*data.remarks, *check_duplicates(held, data.train[0].path.parent)))
        start = read_start(recipe.model.weights, arch=recipe.model.arch)
        spec = make_spec(recipe.model, start)
        batch_norm = recipe.train.batch_norm or ("train" if start.source is None else "frozen")
        if batch_norm == "frozen" and start.source is None:
            raise EANError(
                "batch norm 'frozen' keeps the statistics of the weights that training starts from, and there are "
                "none: give --weights, or --batch-norm train"
            )
        if recipe.train.batch_size % world:
            raise EANError(
                f"batch_size {recipe.train.batch_size} cannot be shared evenly by {world} processes: change one"
            )
        cache = None
        if recipe.data.cache is not None:
            cache = DensityCache(recipe.data.cache, data, kernel=recipe.data.kernel, stride=recipe.model.stride)
        started = load_start(spec.build().trunk, start, spec)  # on a counter that is thrown away: does it fit?
        check_decodes((*data.train, *data.test))
        return cls(recipe, data, split, spec, start, batch_norm, cache, started, directory, **how)

    def describe(self) -> str:
        """One line: counter, data, and where it runs."""
        train, val = self.split
        world = rank_and_world()[1]
        layout = "channels_last" if self.recipe.train.channels_last else "channels_first"
        return (
            f"{self.spec.arch} with {self.spec.attention or 'no attention'}, loss {self.recipe.train.loss}, batch norm "
            f"{self.batch_norm}, batches of {self.recipe.train.batch_size} in {self.recipe.train.precision}, {layout}; "
            f"{self.data.name}: {len(train)} training, "
            f"{len(val)} validation and {len(self.data.test)} test images, on {get_device()} ({world} process(es)), "
            f"writing to {self.directory}"
        )

    def identity(self, *, seed: int) -> dict[str, Any]:
        """What makes a run this one: recipe, data, split, weights and seed."""
        train, val = self.split
        return {
            "part": "counter",
            "model": dataclasses.asdict(self.spec),
            "weights": self.start.identity,
            "data": {
                "name": self.data.name,
                "fingerprint": self.data.fingerprint(),
                "images": {"train": len(train), "val": len(val), "test": len(self.data.test)},
                "val": [image.name for image in val],
                **{
                    name: value
                    for name, value in dataclasses.asdict(self.recipe.data).items()
                    if name not in ("split", "val_share", "split_seed")
                },
            },
            "train": {**dataclasses.asdict(self.recipe.train), "batch_norm": self.batch_norm},
            "seed": seed,
        }

    def work_dir(self) -> WorkDir:
        """The directory, for a claim on a seed's part of it."""
        same = {name: value for name, value in self.identity(seed=0).items() if name not in ("part", "seed")}
        return WorkDir(self.directory, "crowd counting", ("counter",), settings=same, seeds=self.seeds)

    # -- parts ----------------------------------------------------------------------------------------------------

    def counter(self) -> Counter:
        """A fresh counter with the start's weights, expecting as many heads as a training image has on average."""
        counter = self.spec.build()
        load_start(counter.trunk, self.start, self.spec)
        train, _ = self.split
        pixels = sum(image.size[0] * image.size[1] for image in train)
        counter.start_at(total_count(train) / pixels * counter.stride**2)
        if self.batch_norm == "frozen":
            counter.freeze_statistics()
        return counter

    def normalize(self) -> Normalize:
        """With the mean and deviation of the weights, on the device."""
        layout = self.recipe.train.channels_last
        return Normalize(self.start.mean, self.start.std, channels_last=layout).to(get_device())

    def train_loader(self, *, seed: int) -> CrowdLoader:
        """Shuffled views of the training images, this process's share."""
        rank, world = rank_and_world()
        plan = Plan(self.recipe.train.batch_size // world, train=True, seed=seed, rank=rank, world_size=world)
        return CrowdLoader(
            self.split[0], plan, self.recipe.data, stride=self.spec.stride, device=get_device(), cache=self.cache
        )

    def val_loader(self) -> CrowdLoader:
        """The held-out images, whole, one by one, dealt out to the processes."""
        rank, world = rank_and_world()
        plan = Plan(1, train=False, rank=rank, world_size=world)
        return whole_images(self.split[1], self.recipe.data, plan=plan, stride=self.spec.stride)


def whole_images(
    images: tuple[CrowdImage, ...], recipe: DataRecipe | None = None, *, stride: int, plan: Plan | None = None
) -> CrowdLoader:
    """A loader of whole images at batch 1, in order."""
    return CrowdLoader(images, plan or Plan(1, train=False), recipe or DataRecipe(), stride=stride, device=get_device())
