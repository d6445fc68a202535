"""Crowd counting as a task of the pipeline: see `ean_core.pipeline.task.Task` for what each method has to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from mmengine.device import get_device

from crowd_counting.data.loader import CrowdLoader
from crowd_counting.data.points import total_count
from crowd_counting.fit import BEST, fit_counter, fit_supernet
from crowd_counting.headline_error import error_figures, error_metrics, image_shares
from crowd_counting.job import Job, whole_images
from crowd_counting.metrics import ImageErrors, errors_by_count, group_by_part
from crowd_counting.model.counter_file import load_counter
from crowd_counting.model.network import Counter, CounterSpec
from crowd_counting.model.training_model import CountingModel, evaluate
from crowd_counting.path_metric import CountBatches, CountScore
from crowd_counting.recipe import Recipe
from ean_core.data.loader import Plan
from ean_core.networks import count_parameters, stages_blocks
from ean_core.pipeline.task import DatasetInfo, Metric, SchemeScorer, TrainedNetwork, TrainingRun, require_spec
from ean_core.scheme import Scheme
from ean_core.supernet.path_metric import Batch
from ean_core.supernet.relaxed import ValidationGradient
from ean_core.supernet.scorer import Scorer
from ean_core.training.classifier import PRECISIONS
from ean_core.training.loops import PathValLoop
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError

WHOLE_IMAGE = 512
"""Side in pixels of the images that counters without a crop size are timed on."""


@dataclass(frozen=True, eq=False)
class CountingTask:
    """Crowd counting with a recipe, its data and its initial weights.

    Attributes:
        counting: the run, whose spec is the share-full counter.
    """

    counting: Job

    name: ClassVar[str] = "crowd counting"
    model: ClassVar[str] = "counter"
    score: ClassVar[Metric] = Metric("score", "score", "%")
    network_file: ClassVar[str] = BEST

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """MAE and RMSE; of several parts the relative error of all, then MAE and RMSE of each."""
        return error_metrics(image.part for image in self.counting.data.test)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the run, with its counting sections."""
        return self.counting.recipe

    def with_recipe(self, recipe: Recipe) -> CountingTask:
        """The same images and weights under another recipe."""
        return dataclasses.replace(self, counting=dataclasses.replace(self.counting, recipe=recipe))

    # -- data ---------------------------------------------------------------------------------------------------

    def describe(self) -> str:
        """Numbers of images, and what the counter is trained with."""
        (train, val), data = self.counting.split, self.counting.data
        return (
            f"loss {self.recipe.train.loss}, batch norm {self.counting.batch_norm}; {data.name}: {len(train):,} "
            f"training, {len(val):,} validation and {len(data.test):,} test images"
        )

    def dataset(self) -> DatasetInfo:
        """Sizes and fingerprint of the images; counters are timed on one training crop."""
        counting, side = self.counting, self.recipe.data.crop or WHOLE_IMAGE
        return DatasetInfo(
            name=counting.data.name,
            train_images=len(counting.split[0]),
            test_images=len(counting.data.test),
            image_shape=(3, side, side),
            fingerprint=counting.identity(seed=0)["data"],
            note=counting.data.note,
            timing_batch=1,
        )

    def data_arguments(self) -> list[str]:
        """Own annotations and photos without people; a counter's file names the parts that it was trained on."""
        data = self.recipe.data
        flags = {"--annotations": data.annotations, "--empty": data.empty}
        return [word for flag, value in flags.items() if value is not None for word in (flag, value)]

    def count_validation_images(self) -> int:
        """The held-out training images, which also choose the epoch whose weights are kept."""
        return len(self.counting.split[1])

    # -- networks -----------------------------------------------------------------------------------------------

    @cached_property
    def _blocks(self) -> tuple[int, ...]:
        return self.counting.spec.build().stages_blocks

    def blocks(self) -> tuple[int, ...]:
        """Those of the stages that the counter has."""
        return self._blocks

    def spec(self, **changes: Any) -> CounterSpec:
        """The recipe's counter; a scheme is over `blocks()`."""
        if changes.get("scheme") is not None:
            dropped = sum(stages_blocks(self.counting.spec.arch)) - sum(self.blocks())
            changes["scheme"] += "0" * dropped
        unconnected = self.recipe.unconnected_in(changes)
        return dataclasses.replace(self.counting.spec, **changes, unconnected=unconnected)

    def build(self, spec: CounterSpec) -> Counter:
        """Normalized images (B, 3, H, W) -> heads per cell (B, 1, h, w)."""
        return dataclasses.replace(self.counting, spec=spec).counter()

    def starting_weights(self) -> dict[str, str]:
        """The identity of the initial weights; empty when training starts from scratch."""
        identity = self.counting.initial.identity
        return {} if identity is None else {"weights": identity}

    # -- supernet -----------------------------------------------------------------------------------------------

    def train_supernet(self, run: TrainingRun, spec: CounterSpec) -> None:
        """The loss of one random path a step (several under the sandwich rule), on the training images."""
        settings = self.recipe.supernet
        fit_supernet(
            dataclasses.replace(self.counting, spec=spec),
            run,
            validation=self._path_validation if settings.validate_every else None,
        )

    def _path_validation(self, counter: Counter) -> dict[str, Any]:
        """The runner's arguments for scoring a few paths during training."""
        return {
            "val_dataloader": self.counting.val_loader(),
            "val_cfg": {
                "type": PathValLoop,
                "make_scorer": lambda: self.path_scorer(counter),
                "random_paths": self.recipe.supernet.random_paths,
            },
            "val_evaluator": [],
        }

    def load_supernet(self, path: Path) -> Counter:
        """The trained supernet, if it is the recipe's."""
        counter, content = load_counter(path)
        require_spec(path, content["model"], self.spec(), recipe=self.recipe)
        counter = counter.to(get_device())
        if self.counting.batch_norm == "frozen":
            counter.freeze_batch_norm()  # BN calibration leaves frozen ones as they are
        return counter.to(memory_format=torch.channels_last) if self.recipe.supernet.channels_last else counter

    def make_scorer(self, supernet: Counter) -> SchemeScorer:
        """100 - 100 MAE / mean count on the whole validation images; of several parts, the mean over them."""
        scorer = self.path_scorer(supernet)

        def scores(schemes: Sequence[Scheme]) -> list[float]:
            return [score.value for score in scorer(schemes)]

        return scores

    def path_scorer(self, supernet: Counter) -> Scorer:
        """A `Scorer` over the validation images, as the recipe's search section says."""
        search, settings, metric = self.recipe.search, self.recipe.supernet, self._metric(supernet)
        calibrated = search.bn_images and self.counting.batch_norm != "frozen"
        return Scorer(
            supernet,
            CountBatches(self.counting.val_loader(), metric.parts),
            metric=metric,
            training=CountBatches(self._calibration_loader(), metric.parts) if calibrated else None,
            dtype=PRECISIONS[settings.precision] or torch.float32,
        )

    def _metric(self, supernet: Counter) -> CountScore:
        """The measure of a path on the validation images."""
        return CountScore(supernet, self.counting.normalize(), self.counting.split[1])

    def _calibration_loader(self) -> CrowdLoader:
        """The first of the shuffled training images, cropped as in training; the same in all processes."""
        train, search = self.counting.split[0], self.recipe.search
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.recipe.seed))
        images = tuple(train[index] for index in order[: search.bn_images].tolist())
        plan = Plan(search.bn_batch_size, train=True, seed=self.recipe.seed, drop_last=False)
        data = dataclasses.replace(self.recipe.data, cache=None)
        return CrowdLoader(images, plan, data, stride=self.counting.spec.stride, device=get_device())

    def make_gradient(self, supernet: Counter, *, images: int, seed: int) -> ValidationGradient:
        """The gradient of the relative error, as a fraction, on whole images; see `ClassificationTask`."""
        val, metric = self.counting.split[1], self._metric(supernet)

        def batches(step: int) -> Iterable[Batch]:
            drawn = np.random.default_rng([seed, step]).choice(len(val), min(images, len(val)), replace=False)
            chosen = tuple(val[index] for index in drawn.tolist())
            return CountBatches(whole_images(chosen, self.recipe.data, stride=supernet.stride), metric.parts)

        return ValidationGradient(
            supernet,
            batches,
            metric=metric,
            batch_statistics=self.recipe.search.bn_images > 0,
        )

    # -- networks of fixed connections --------------------------------------------------------------------------

    def train_network(self, run: TrainingRun, spec: CounterSpec) -> TrainedNetwork:
        """Train on the training images, keep the best counter on the validation images, and test it."""
        counting = dataclasses.replace(self.counting, spec=spec)
        counter = fit_counter(counting, run)
        best, content = load_counter(run.output)
        rows = self._test(best)
        chosen = {key: content.get(key) for key in ("epoch", "validation")}
        per_image = image_shares(rows, self.metrics[0])
        by_count = {part: errors_by_count(group) for part, group in group_by_part(rows).items()}
        ranges = {part: [dataclasses.asdict(errors) for errors in found] for part, found in by_count.items()}
        metrics = {**error_figures(rows), "by_count": ranges, **chosen}
        return TrainedNetwork(metrics, count_parameters(counter), per_image)

    def load_network(self, path: Path) -> Counter:
        """Load a counter file in eval mode."""
        return load_counter(path)[0]

    def evaluate(self, network: Counter, *, batch_size: int) -> Mapping[str, float]:
        """The errors on whole images, one at a time whatever the batch size, since their sizes differ."""
        return error_figures(self._test(network))

    def _test(self, counter: Counter) -> list[ImageErrors]:
        """The errors of all test images in order, in every process; the processes share the images."""
        images, (rank, world) = self.counting.data.test, rank_and_world()
        model = CountingModel(counter, self.counting.normalize()).to(get_device())
        plan = Plan(1, train=False, rank=rank, world_size=world)
        rows = evaluate(model, whole_images(images, self.recipe.data, stride=counter.stride, plan=plan))
        if world == 1:
            return rows
        parts: list[list[ImageErrors]] = [[] for _ in range(world)]
        dist.all_gather_object(parts, rows)
        return [parts[number % world][number // world] for number in range(len(images))]


def searched_task(recipe: Recipe, counting: Job) -> CountingTask:
    """The task of a prepared run: its counter share-full, and what was left to the weights written into the recipe.

    Raises:
        EANError: if the validation images cannot tell schemes apart, or a setting of the search has no meaning here.
    """
    spec = counting.spec.share_full()
    model = dataclasses.replace(
        recipe.model, arch=spec.arch, attention=spec.attention, attention_options=dict(spec.attention_options)
    )
    sections = {}
    for name in ("train", "supernet"):
        section = getattr(counting.recipe, name)
        if section is not None:
            layout = counting.recipe.train.channels_last if section.channels_last is None else section.channels_last
            sections[name] = dataclasses.replace(section, batch_norm=counting.batch_norm, channels_last=layout)
    if recipe.search is not None and recipe.search.bn_images and counting.batch_norm == "frozen":
        raise EANError(
            f"search.bn_images is {recipe.search.bn_images}, but batch norm is frozen at the statistics of the initial "
            "weights, and there is nothing to calibrate: leave search.bn_images out, or give train.batch_norm='train'"
        )
    if not total_count(counting.split[1]):
        raise EANError(
            f"none of the {len(counting.split[1])} validation images shows people, so that no error has a scale: give "
            "another data.split_seed or a larger data.val_share"
        )
    resolved = recipe.replace(model=model, **sections)
    return CountingTask(dataclasses.replace(counting, spec=spec, recipe=resolved))
