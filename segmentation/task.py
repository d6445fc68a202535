"""Segmentation as a task of the pipeline: see `ean_core.pipeline.task.Task` for what each method has to do."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch import nn

from ean_core.networks import count_parameters
from ean_core.pipeline.task import DatasetInfo, Metric, SchemeScorer, TrainedNetwork, TrainingRun, require_spec
from ean_core.scheme import Scheme
from ean_core.supernet.path_metric import Batch
from ean_core.supernet.paths import forget_path_in_state
from ean_core.supernet.relaxed import ValidationGradient
from ean_core.supernet.scorer import Scorer
from ean_core.training.hooks import unwrap_model
from ean_core.utils.distributed import rank_and_world, run_on_main_process
from segmentation import SEGMENTOR_FILES
from segmentation.config import build_dataset
from segmentation.data.search_split import SearchSplit
from segmentation.evaluation import score
from segmentation.fit import fit, log_to, place
from segmentation.hooks import DrawPath
from segmentation.model.logits_network import Logits
from segmentation.path_metric import LabeledImages, MeanIoU, TrainingCrops
from segmentation.recipe import Recipe, supernet_config
from segmentation.segmentor_file import SegmentorSpec, load_segmentor_file, save_segmentor

WHOLE_IMAGE = 512
"""Side in pixels of the images that segmentors without a crop size are timed on."""


@dataclass(frozen=True, eq=False)
class SegmentationTask:
    """Semantic segmentation with an mmsegmentation config.

    Attributes:
        recipe: what the config says of the search.
        config: as `segmentation.config.read_config` returns it; its backbone is an EANResNet.
        split: which images train the supernet and which score schemes.
        stages: blocks of the stages that the backbone has.
        weights: identity of the backbone's initial weights; None from scratch.
    """

    recipe: Recipe
    config: Config
    split: SearchSplit
    stages: tuple[int, ...]
    weights: str | None = None

    name: ClassVar[str] = "segmentation"
    model: ClassVar[str] = "segmentor"
    score: ClassVar[Metric] = Metric("mIoU", "mean IoU", "%")
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mIoU", "mean IoU", "%"),
        Metric("mAcc", "mean accuracy", "%"),
        Metric("aAcc", "pixel accuracy", "%"),
    )
    network_file: ClassVar[str] = SEGMENTOR_FILES[0]

    def with_recipe(self, recipe: Recipe) -> SegmentationTask:
        """The same images and config under another recipe."""
        return dataclasses.replace(self, recipe=recipe)

    # -- data ---------------------------------------------------------------------------------------------------

    def describe(self) -> str:
        """The head, and numbers of images and classes."""
        return f"{self.config.model.decode_head.type}; {self.split.describe()}"

    def dataset(self) -> DatasetInfo:
        """Sizes and fingerprint of the images; segmentors are timed on one training crop."""
        size = self.config.model.data_preprocessor.get("size") or (WHOLE_IMAGE, WHOLE_IMAGE)
        return DatasetInfo(
            name=self.split.name,
            train_images=self.split.contents["train"].pairs,
            test_images=self.split.contents["test"].pairs,
            image_shape=(3, *size),
            fingerprint=self.split.fingerprint(),
            search_only=frozenset({"schemes scored on"}),
            note=self.config.get("note") or "",
            timing_batch=1,
        )

    def data_arguments(self) -> list[str]:
        """None: the config names the data."""
        return []

    def count_validation_images(self) -> int:
        """The config's validation images, or those held out of its training images."""
        return len(self.split.val_indices)

    # -- networks -----------------------------------------------------------------------------------------------

    def blocks(self) -> tuple[int, ...]:
        """Those of the stages that the backbone has."""
        return self.stages

    def spec(self, **changes: Any) -> SegmentorSpec:
        """The recipe's backbone; a scheme is over `blocks()`."""
        model = self.recipe.model
        spec = SegmentorSpec(
            model.arch,
            model.attention,
            attention_options=dict(model.attention_options),
            unconnected=self.recipe.unconnected_in(changes),
        )
        return dataclasses.replace(spec, **changes)

    def build(self, spec: SegmentorSpec) -> Logits:
        """Normalized images (B, 3, H, W) -> logits (B, K, H, W)."""
        segmentor = MODELS.build(spec.config(self.config).model)
        segmentor.backbone.init_weights()
        return Logits(revert_sync_batchnorm(segmentor))

    def starting_weights(self) -> dict[str, str]:
        """The identity of the backbone's initial weights; empty from scratch."""
        return {} if self.weights is None else {"weights": self.weights}

    # -- supernet -----------------------------------------------------------------------------------------------

    def train_supernet(self, run: TrainingRun, spec: SegmentorSpec) -> None:
        """The config's losses of one random path a step."""
        config = supernet_config(spec.config(self.config))
        config.train_dataloader.dataset = self.split.supernet_dataset(config)
        self._train(run, config, hooks=[DrawPath(seed=run.seed)])
        self._save(run, spec)

    def _train(self, run: TrainingRun, config: Config, *, hooks: Sequence[Any] = ()) -> Any:
        """Claim the directory and train, or go on; the runner after its last step."""
        run.claim()
        place(config, run.directory, seed=run.seed, launcher=run.launcher)
        log_to(config, run.backends)
        prepare = (lambda model: forget_path_in_state(unwrap_model(model))) if hooks else None
        return fit(config, name=run.name, resume=run.resume, hooks=hooks, prepare=prepare)

    def _save(self, run: TrainingRun, spec: SegmentorSpec, **info: Any) -> None:
        """Write the file of a finished run, on the first process."""
        identity = dict(run.identity)
        run_on_main_process(lambda: save_segmentor(run.output, self.config, spec, run.state, recipe=identity, **info))

    def load_supernet(self, path: Path) -> Logits:
        """The trained supernet, if it is the recipe's."""
        segmentor, content = load_segmentor_file(path, self.config)
        require_spec(path, content["model"], self.spec(), recipe=self.recipe)
        return Logits(segmentor).eval().to(get_device())

    def make_scorer(self, supernet: Logits) -> SchemeScorer:
        """The mean IoU on the validation images."""
        search, preprocess = self.recipe.search, self._preprocessor()
        calibration = None
        if search.bn_images:
            dataset = build_dataset(self.split.supernet_dataset(self.config))
            size = {"count": search.bn_images, "batch_size": search.bn_batch_size}
            calibration = TrainingCrops(dataset, preprocess, seed=self.recipe.seed, **size)
        rank, world = rank_and_world()
        scorer = Scorer(
            supernet,
            self._validation(self.split.val_indices[rank::world]),
            metric=self._metric(preprocess),
            training=calibration,
        )

        def scores(schemes: Sequence[Scheme]) -> list[float]:
            return [score.value for score in scorer(schemes)]

        return scores

    def _preprocessor(self) -> nn.Module:
        """The segmentor's data preprocessor, on the device."""
        return MODELS.build(self.config.model.data_preprocessor).to(get_device())

    def _metric(self, preprocess: nn.Module) -> MeanIoU:
        """The measure of a path."""
        ignored = self.config.val_evaluator.get("ignore_index", 255)
        return MeanIoU(self.split.classes, preprocess, ignored=ignored)

    def _validation(self, indices: Sequence[int]) -> LabeledImages:
        """Images of the validation part with their labels."""
        return LabeledImages(build_dataset(self.split.val_dataset), indices, device=get_device())

    def make_gradient(self, supernet: Logits, *, images: int, seed: int) -> ValidationGradient:
        """The gradient of the cross-entropy; see `ClassificationTask`."""
        labeled = self._validation(self.split.val_indices)
        count = min(images, len(labeled))

        def batches(step: int) -> Iterable[Batch]:
            drawn = np.random.default_rng([seed, step]).choice(labeled.indices, count, replace=False)
            return LabeledImages(labeled.dataset, drawn.tolist(), device=labeled.device)

        return ValidationGradient(
            supernet,
            batches,
            metric=self._metric(self._preprocessor()),
            batch_statistics=self.recipe.search.bn_images > 0,
        )

    # -- networks of fixed connections --------------------------------------------------------------------------

    def train_network(self, run: TrainingRun, spec: SegmentorSpec) -> TrainedNetwork:
        """Train on all the config's training images as tools/train.py does, and test the final weights."""
        config = spec.config(self.config)
        segmentor = unwrap_model(self._train(run, copy.deepcopy(config)).model)
        metrics = score_in_all_processes(config, segmentor.eval())
        self._save(run, spec, metrics={metric.key: metrics[metric.key] for metric in self.metrics})
        return TrainedNetwork(metrics, count_parameters(Logits(segmentor)))

    def load_network(self, path: Path) -> Logits:
        """Load the network of a segmentor.pth."""
        return Logits(load_segmentor_file(path, self.config)[0]).eval()

    def evaluate(self, network: Logits, *, batch_size: int) -> Mapping[str, float]:
        """The figures of mmsegmentation's evaluation, in the config's own batches."""
        segmentor = self.spec().build(self.config)
        segmentor.backbone, segmentor.decode_head = network.backbone, network.decode_head
        if segmentor.with_neck:
            segmentor.neck = network.neck
        return score_in_all_processes(self.config, segmentor.to(get_device()).eval())


def score_in_all_processes(config: Config, segmentor: Any) -> dict[str, Any]:
    """mIoU, mAcc, aAcc and the classes' figures on the test images; every process has them."""
    table = [score(config, segmentor)]
    if dist.is_initialized():
        dist.broadcast_object_list(table, src=0)
    return table[0]
