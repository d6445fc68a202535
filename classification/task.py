"""Classification as a task of the pipeline: see `ean_core.pipeline.task.Task` for what each method has to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor

from classification.evaluation import evaluate
from classification.images import Images
from classification.recipe import Recipe
from ean_core.data import ImageData
from ean_core.networks import StagedNetwork, count_parameters, stages_blocks
from ean_core.networks.network_file import ModelSpec, load_network
from ean_core.networks.pretrained import load_weights
from ean_core.networks.weights_file import read_weights, weights_identity
from ean_core.pipeline.fit import fit
from ean_core.pipeline.task import DatasetInfo, Metric, SchemeScorer, TrainedNetwork, TrainingRun, require_spec
from ean_core.scheme import Scheme
from ean_core.supernet.path_metric import Top1
from ean_core.supernet.relaxed import ValidationGradient
from ean_core.supernet.scorer import Scorer
from ean_core.training.classifier import PRECISIONS, ImageClassifier, SupernetClassifier
from ean_core.training.epoch_log import LogTestAccuracy, best_test_epoch
from ean_core.training.hooks import DrawPaths
from ean_core.training.loops import PathValLoop
from ean_core.training.metrics import FIVE, Confusion
from ean_core.training.settings import TrainSettings
from ean_core.training.state import save_state_as_network
from ean_core.utils.distributed import is_main_process, run_on_main_process
from ean_core.utils.screen import say
from ean_core.utils.text import how_many

GRADIENT_BATCH = 128
"""Images per backward pass of the validation gradient at most: activations are kept for it, unlike in scoring."""

TOP1 = Metric("top1", "accuracy", "%", proportion=True)
TOP5 = Metric("top5", "top-5 accuracy", "%", proportion=True)

CALIBRATION_IMAGES = 1000
"""Training images over which a validation of the supernet calibrates batch norm for the full and the empty path."""

TEST_BATCH = 500
"""Images per forward pass of the test at the end of a training."""

TEST_LOG = "test_epochs.jsonl"
"""Test accuracies during training, in the network's directory."""

_Classifier = TypeVar("_Classifier", bound=ImageClassifier)


@dataclass(frozen=True)
class ClassificationTask:
    """Image classification with a recipe and its data.

    Attributes:
        recipe: of the run.
        data: the data set that its data section names.
    """

    recipe: Recipe
    data: ImageData

    name: ClassVar[str] = "classification"
    model: ClassVar[str] = "classifier"
    score: ClassVar[Metric] = Metric("accuracy", "accuracy", "%", proportion=True)
    network_file: ClassVar[str] = "classifier.pth"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Top-1 accuracy, and top-5 where it says something."""
        return (TOP1, TOP5) if self.data.num_classes > FIVE else (TOP1,)

    def with_recipe(self, recipe: Recipe) -> ClassificationTask:
        """The same images under another recipe."""
        return dataclasses.replace(self, recipe=recipe)

    # -- data ---------------------------------------------------------------------------------------------------

    @cached_property
    def images(self) -> Images:
        """The images as the recipe splits them."""
        return Images(self.recipe.data, self.data)

    def describe(self) -> str:
        """Numbers of images and classes."""
        data, total = self.data, len(self.data.train)
        subset = "" if self.recipe.data.train_per_class is None else f" (a subset of {total:,})"
        return (
            f"{data.name}: {how_many(len(self.images.training()), 'training image')}{subset}, "
            f"{how_many(len(data.test), 'test image')}, {data.num_classes} classes"
        )

    def dataset(self) -> DatasetInfo:
        """Sizes, shape and fingerprint of the images."""
        recipe = self.recipe.data
        share, count = recipe.val_fraction, recipe.val_per_class
        fingerprint = {
            "name": self.data.name,
            "fingerprint": self.data.fingerprint,
            **({} if self.data.content is None else {"content": self.data.content}),
            "train_per_class": recipe.train_per_class,
            **({"val_per_class": count} if share is None else {"val_fraction": share}),
            "split_seed": recipe.split_seed,
            "augment": dataclasses.asdict(recipe.augment),
        }
        return DatasetInfo(
            name=self.data.name,
            train_images=len(self.images.training()),
            test_images=len(self.data.test),
            image_shape=self.data.image_shape,
            fingerprint=fingerprint,
            search_only=frozenset({"val_per_class", "val_fraction"}),
            note=self.data.note,
        )

    def data_arguments(self) -> list[str]:
        """None: a classifier's file names its data."""
        return []

    def count_validation_images(self) -> int:
        """Images of the search split's validation part."""
        return len(self.images.split()[1])

    # -- networks -----------------------------------------------------------------------------------------------

    def blocks(self) -> tuple[int, ...]:
        """Those of the recipe's architecture."""
        return stages_blocks(self.recipe.model.arch)

    def spec(self, **changes: Any) -> ModelSpec:
        """The recipe's network with an output for every class."""
        model = self.recipe.model
        spec = ModelSpec(
            arch=model.arch,
            num_classes=self.data.num_classes,
            attention=model.attention,
            attention_options=dict(model.attention_options),
            in_channels=self.data.image_shape[0],
            unconnected=self.recipe.unconnected_in(changes),
        )
        return dataclasses.replace(spec, **changes, pruned="scheme" in changes)

    def build(self, spec: ModelSpec) -> StagedNetwork:
        """Images (B, C, H, W) -> logits (B, K)."""
        network, source = spec.build(), self.recipe.model.pretrained
        if source is not None:
            report = load_weights(network, read_weights(source, arch=spec.arch), spec=spec)
            if is_main_process():
                say(f"weights: {report}")
        return network

    def starting_weights(self) -> dict[str, str]:
        """The checksum of the pretrained weights, or their address; empty when training starts from scratch."""
        source = self.recipe.model.pretrained
        return {} if source is None else {"pretrained": weights_identity(source, arch=self.recipe.model.arch)}

    def file_info(self) -> dict[str, Any]:
        """What a network file says of its data."""
        return {
            "classes": list(self.data.classes),
            "mean": list(self.data.mean),
            "std": list(self.data.std),
            "image_shape": list(self.data.image_shape),
            "resize": getattr(self.data.train, "resize", self.data.image_shape[1]),  # the shorter side before the crop
            "data": dict(self.dataset().fingerprint),
        }

    # -- supernet -----------------------------------------------------------------------------------------------

    def train_supernet(self, run: TrainingRun, spec: ModelSpec) -> None:
        """Cross-entropy of one random path a step (several under the sandwich rule)."""
        settings = self.recipe.supernet
        train, val = self.images.split()
        torch.manual_seed(run.seed)
        network = self.build(spec)
        model = self._as_model(SupernetClassifier, network, settings)
        if settings.compile:  # block by block: the paths through them change from step to step
            for stage in network.stages:
                for block in stage.blocks:
                    block.compile()
        fit(
            run,
            model,
            self.images.train_loader(train, settings, seed=run.seed),
            settings,
            validation=self._path_validation(network, val) if settings.val_interval else None,
            hooks=[DrawPaths(seed=run.seed, sandwich=settings.sandwich)],
            unused_parameters=True,
        )
        info = {**self.file_info(), "recipe": run.identity}
        run_on_main_process(lambda: save_state_as_network(run.state, run.output, spec, **info))

    def _path_validation(self, network: StagedNetwork, images: Tensor) -> dict[str, Any]:
        """The runner's arguments for scoring a few paths during training, on these images (N,) of the training part."""
        search = self.recipe.search
        calibrating = dataclasses.replace(search, bn_images=CALIBRATION_IMAGES)
        calibrated = self.with_recipe(self.recipe.replace(search=calibrating))
        batch_size = search.batch_size
        return {
            "val_dataloader": self.images.eval_loader(self.data.train, images, batch_size=batch_size, shared=False),
            "val_cfg": {
                "type": PathValLoop,
                "make_scorer": lambda: self.path_scorer(network),
                "make_calibrated": None if search.bn_images else lambda: calibrated.path_scorer(network),
                "random_paths": self.recipe.supernet.random_paths,
            },
            "val_evaluator": [],
        }

    def load_supernet(self, path: Path) -> StagedNetwork:
        """The trained supernet, if it is the recipe's."""
        network, content = load_network(path)
        require_spec(path, content["model"], self.spec(), recipe=self.recipe)
        network = network.to(get_device())
        return network.to(memory_format=torch.channels_last) if self.recipe.supernet.channels_last else network

    def make_scorer(self, supernet: StagedNetwork) -> SchemeScorer:
        """Top-1 accuracy in percent on the validation images."""
        scorer = self.path_scorer(supernet)

        def accuracies(schemes: Sequence[Scheme]) -> list[float]:
            return [score.value for score in scorer(schemes)]

        return accuracies

    def path_scorer(self, supernet: StagedNetwork) -> Scorer:
        """A `Scorer` over the validation images, as the recipe's search section says."""
        settings, search = self.recipe.supernet, self.recipe.search
        calibration = None
        if search.bn_images:
            calibration = self.images.calibration_loader(
                count=search.bn_images, batch_size=search.bn_batch_size, seed=self.recipe.seed
            )
        _, val = self.images.split()
        return Scorer(
            supernet,
            self.images.eval_loader(self.data.train, val, batch_size=search.batch_size, shared=True),
            metric=Top1(self.images.normalize(channels_last=settings.channels_last)),
            training=calibration,
            dtype=PRECISIONS[settings.precision] or torch.float32,
            compile=settings.compile,
        )

    def make_gradient(self, supernet: StagedNetwork, *, images: int, seed: int) -> ValidationGradient:
        """The gradient of the cross-entropy.

        In float32 whatever the recipe's precision: a connection's slope is a sum over millions of products. Batch norm
        uses each batch's own statistics where the recipe calibrates them for scoring.
        """
        _, val = self.images.split()
        count = min(images, len(val))

        def batches(step: int) -> Iterable[Mapping[str, Tensor]]:
            drawn = np.random.default_rng([seed, step]).choice(val.numpy(), count, replace=False)
            batch_size = min(GRADIENT_BATCH, count)
            return self.images.eval_loader(
                self.data.train, torch.from_numpy(drawn), batch_size=batch_size, shared=False
            )

        return ValidationGradient(
            supernet,
            batches,
            metric=Top1(self.images.normalize(channels_last=self.recipe.supernet.channels_last)),
            batch_statistics=self.recipe.search.bn_images > 0,
        )

    # -- networks of fixed connections --------------------------------------------------------------------------

    def train_network(self, run: TrainingRun, spec: ModelSpec) -> TrainedNetwork:
        """Train on all the recipe's training images, and test the weights of the last epoch."""
        settings = self.recipe.train
        torch.manual_seed(run.seed)
        network = self.build(spec)
        model = self._as_model(ImageClassifier, network, settings)
        if settings.compile:
            network.compile()
        test = Confusion(self.data.num_classes)
        runner = fit(
            run,
            model,
            self.images.train_loader(self.images.training(), settings, seed=run.seed),
            settings,
            validation={
                "val_dataloader": self.images.eval_loader(self.data.test, None, batch_size=TEST_BATCH, shared=True),
                "val_cfg": {},
                "val_evaluator": [test],
            },
            hooks=[LogTestAccuracy(run.directory / TEST_LOG)],
        )
        metrics = runner.val_loop.run()
        assert test.correct is not None
        info = {**self.file_info(), "recipe": run.identity, "metrics": metrics}
        run_on_main_process(lambda: save_state_as_network(run.state, run.output, spec, **info))
        best = best_test_epoch(run.directory / TEST_LOG)
        measured = {**metrics, "best_test_epoch": best}
        return TrainedNetwork(measured, count_parameters(network), per_image=test.correct.numpy())

    def load_network(self, path: Path) -> StagedNetwork:
        """Load the network of a classifier.pth."""
        return load_network(path)[0]

    def evaluate(self, network: StagedNetwork, *, batch_size: int) -> Mapping[str, float]:
        """Score a trained network on the test images: accuracies in percent."""
        return evaluate(self.images, network, batch_size=batch_size)[0]

    def _as_model(self, kind: type[_Classifier], network: StagedNetwork, settings: TrainSettings) -> _Classifier:
        """The network as an MMEngine model of this kind, in the settings' memory format and precision."""
        if settings.channels_last:
            network.to(memory_format=torch.channels_last)
        return kind(
            network,
            self.images.normalize(channels_last=settings.channels_last),
            label_smoothing=settings.label_smoothing,
            precision=settings.precision,
            cuda_graph=settings.cuda_graph,
        )
