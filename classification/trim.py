"""Trimming a classifier: its images, each one's result, and the file of the trimmed network."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor, nn

from classification.images import Images
from classification.recipe import DataRecipe
from classification.task import TOP1
from ean_core.data import DATASETS, ImageData, OneEpoch, load_data, make_loader
from ean_core.data.seeding import generator_for
from ean_core.inference.loaded_model import LoadedModel
from ean_core.inference.timm_classifier import FORMAT as TIMM_FORMAT
from ean_core.inference.timm_classifier import TimmSpec, save_timm
from ean_core.networks import StagedNetwork
from ean_core.networks.network_file import ModelSpec, save_network
from ean_core.pipeline.fit import fit
from ean_core.pipeline.task import Metric, TrainingRun
from ean_core.pipeline.trim.task import TEST, VALIDATION, Parts, checkpoint_identity
from ean_core.supernet.prefix_cache import CachedBatches
from ean_core.training.classifier import ImageClassifier
from ean_core.training.settings import TrainSettings
from ean_core.utils.checked_dataclasses import build
from ean_core.utils.errors import EANError

FINETUNE_LR = 0.1
"""Fine-tuning begins at this share of the training's learning rate and ends at zero along a half cosine."""

CACHE_BYTES = 2**30
"""Images of a part that are kept decoded, at most."""

CALIBRATION_BATCH = 100
"""Images per forward pass of the training images."""


@dataclass(frozen=True)
class Split:
    """Indices (N,) of the images of each part.

    Attributes:
        training: in the data set's training images.
        validation: in `source`, "train" or "test".
        source: which images the validation part is taken from.
        test: in the test images; empty for none.
        note: where the validation images come from, in a sentence.
    """

    training: Tensor
    validation: Tensor
    source: str
    test: Tensor
    note: str


@dataclass(frozen=True, eq=False)
class ClassifierTrim:
    """A trained classifier and its images; implements `ean_core.pipeline.trim.task.TrimTask`.

    Attributes:
        model: as loaded, on the device.
        images: of the data set that it was trained on.
        split: which images do what.
        tested: the data whose test images are reported on, usually those of `images`.
    """

    model: LoadedModel
    images: Images
    split: Split
    tested: ImageData

    name: ClassVar[str] = "classification"
    metric: ClassVar[Metric] = TOP1

    @property
    def network(self) -> nn.Module:
        """The network of the checkpoint."""
        return self.model.network

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the network's images."""
        return tuple(self.model.content["image_shape"])

    @cached_property
    def parts(self) -> Parts:
        """How many images do what."""
        split = self.split
        return Parts(len(split.training), len(split.validation), len(split.test), split.note)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What the run is of: checkpoint, network and data."""
        path, content = self.model.path, self.model.content
        data = {name: getattr(self.images.data, name) for name in ("name", "fingerprint", "content")}
        return {
            **checkpoint_identity(path),
            "model": dict(content["model"]),
            "data": {**data, "test_fingerprint": self.tested.fingerprint, "split": self.split.note},
        }

    def training_batches(self, count: int) -> Iterator[Tensor]:
        """See `TrimTask`; augmented, since batch norm's statistics are of augmented images."""
        order = torch.randperm(len(self.split.training), generator=generator_for(0, len(self.split.training)))
        loader = make_loader(
            self.images.data.train,
            self.split.training[order[:count]],
            batch_size=min(count, CALIBRATION_BATCH),
            train=True,
            augment=self.images.recipe.augment,
            device=get_device(),
            workers=self.images.recipe.workers,
        )
        for batch in OneEpoch(loader):
            yield self._normalize(batch["inputs"])

    def results(self, network: nn.Module, part: str) -> np.ndarray:
        """(N,) bool, whether each image is classified correctly."""
        right = []
        with torch.inference_mode():
            for batch in self._batches[part]:
                logits = network(self._normalize(batch["inputs"]))
                if not bool(logits.isfinite().all()):
                    raise EANError(f"the outputs of {self.model.path} are not finite: its training diverged")
                right.append((logits.argmax(dim=1) == batch["labels"]).cpu())
        return torch.cat(right).numpy()

    @cached_property
    def _batches(self) -> dict[str, CachedBatches]:
        """The images of each part, decoded once if they are few."""
        sources = {
            VALIDATION: (getattr(self.images.data, self.split.source), self.split.validation),
            TEST: (self.tested.test, self.split.test),
        }
        return {
            part: CachedBatches(
                self.images.eval_loader(source, indices, batch_size=self._batch_size, shared=False), CACHE_BYTES
            )
            for part, (source, indices) in sources.items()
            if len(indices)
        }

    @property
    def _batch_size(self) -> int:
        return 250 if max(self.image_shape[1:]) <= 64 else 25

    @cached_property
    def _normalize(self) -> nn.Module:
        return self.images.normalize(channels_last=False)

    def group_figures(self, results: np.ndarray, part: str) -> Mapping[str, float]:
        """None: all images are one group."""
        return {}

    def save(self, network: nn.Module, path: Path, info: Mapping[str, Any]) -> list[Path]:
        """A .pth for `ean_core.load`, and the connections that are left as a scheme.json where there are stages."""
        content = {name: value for name, value in self.model.content.items() if name not in ("format", "model")}
        content = {**content, "classes": list(self.model.classes), "trim": dict(info), "metrics": None}
        file = path.with_suffix(".pth")
        if not isinstance(network, StagedNetwork):
            spec = TimmSpec(**self.model.content["model"])
            save_timm(file, network, dataclasses.replace(spec, folded=(*spec.folded, *info["folded"])), **content)
            return [file]
        spec = build(ModelSpec, self.model.content["model"], where=str(self.model.path))
        if spec.attention is None:
            spec = dataclasses.replace(spec, folded=(*spec.folded, *info["folded"]))
        else:
            spec = dataclasses.replace(spec, scheme=network.scheme.text, pruned=True)
        save_network(file, network.prune(), spec, **content)
        if spec.attention is None:
            return [file]
        scheme = path.with_name("scheme.json")
        origin = {"arch": spec.arch, "attention": spec.attention, "attention_options": dict(spec.attention_options)}
        network.scheme.save(scheme, **origin, data=self.images.data.name, method="trim")
        return [file, scheme]

    def finetune(self, network: nn.Module, *, epochs: int, directory: Path, resume: bool) -> nn.Module:
        """Cross-entropy by the settings that the network was trained with, from a tenth of their learning rate."""
        recipe = self.model.content.get("recipe") or {}
        given = recipe.get("train") or recipe.get("supernet")
        if given is None or not isinstance(network, StagedNetwork):
            raise EANError(
                f"{self.model.path} does not say how it was trained, so --finetune cannot continue its training"
            )
        known = {field.name for field in dataclasses.fields(TrainSettings)}
        settings = build(TrainSettings, {k: v for k, v in given.items() if k in known}, where=str(self.model.path))
        plain = {"ema": None, "compile": False, "cuda_graph": False, "channels_last": False, "val_interval": 0}
        settings = dataclasses.replace(
            settings,
            epochs=epochs,
            lr=settings.lr * FINETUNE_LR,
            schedule="cosine",
            milestones=(),
            warmup_epochs=0.0,
            **plain,
        )
        seed = int(recipe.get("seed") or 0)
        torch.manual_seed(seed)
        network = network.prune()
        model = ImageClassifier(
            network,
            self._normalize,
            label_smoothing=settings.label_smoothing,
            precision=settings.precision,
            cuda_graph=False,
        )
        identity = {**self.identity, "part": "finetune", "folded": network.scheme.text, "epochs": epochs}
        run = TrainingRun("finetune", "train", directory, directory / "unused.pth", identity, seed, resume=resume)
        fit(run, model, self.images.train_loader(self.split.training, settings, seed=seed), settings)
        return network.eval()


def start_trim(model: LoadedModel, arguments: argparse.Namespace) -> ClassifierTrim:
    """Read the images that a classifier was trained on, and split them.

    Args:
        model: the classifier.
        arguments: `data_root`, `test_root`, `test_is_validation` and `val_images` are used.

    Raises:
        EANError: if the file does not say its data, they cannot be read, or they are other data.
    """
    if arguments.part or arguments.annotations or arguments.empty:
        raise EANError(f"{model.path} is a classifier: --part and --annotations are for crowd counters")
    images = read_images(model, arguments.data_root)
    tested = images.data
    if arguments.test_root:
        tested = load_data(images.data.name, arguments.test_root, image_size=images.recipe.image_size)
        check_classes(model, tested, arguments.test_root)
        if tested.fingerprint == images.data.fingerprint:
            raise EANError(
                f"--test-root {arguments.test_root} holds the images that choose: leave it out, or give other ones"
            )
    split = split_images(model, images, tested, test_is_validation=arguments.test_is_validation)
    if (count := arguments.val_images) is not None and count < len(split.validation):
        kept = torch.randperm(len(split.validation), generator=generator_for(0, count))[:count].sort().values
        note = f"{count} drawn from {split.note}"
        split = dataclasses.replace(split, validation=split.validation[kept], note=note)
    model.network.to(get_device())
    return ClassifierTrim(model, images, split, tested)


def read_images(model: LoadedModel, root: str | None) -> Images:
    """The data set that the file names, under `root`; for timm's public weights the class folders there."""
    content, path = model.content, model.path
    described = content.get("data")
    if described is None and content["format"] != TIMM_FORMAT:
        raise EANError(f"{path} does not say which data it was trained on: train it again with this version")
    described = described or {"name": "folder"}
    if described.get("name") not in DATASETS:  # as `ean_core.save` writes it, for readers
        raise EANError(
            f"{path} was trained on {described.get('name')!r}, which is not a data set of this project: save it with "
            f"data= one of {', '.join(DATASETS)}, where folder means a folder for each class"
        )
    values = {name: value for name, value in described.items() if name not in ("fingerprint", "content")}
    size = content["image_shape"][1] if described["name"] in ("folder", "imagenet") else None
    recipe = build(DataRecipe, {**values, "image_size": size}, where=f"{path}: data")
    data = load_data(recipe.name, root or "data", image_size=size)
    check_classes(model, data, root or "data")
    same = all(described.get(name) in (None, getattr(data, name)) for name in ("fingerprint", "content"))
    if not same:
        raise EANError(
            f"{path} was trained on other images of {data.name} than those in {root or 'data'}: give the --data-root "
            "that it was trained with"
        )
    if content["format"] == TIMM_FORMAT:  # as the weights want them, not as the folder's defaults
        data = dataclasses.replace(data, mean=tuple(content["mean"]), std=tuple(content["std"]))
    return Images(recipe, data)


def check_classes(model: LoadedModel, data: ImageData, root: str) -> None:
    """Refuse data with other classes than the network's; public weights have numbers for names."""
    public = model.content["format"] == TIMM_FORMAT
    if len(model.classes) != data.num_classes or (not public and tuple(data.classes) != model.classes):
        raise EANError(
            f"{model.path} has {len(model.classes)} classes ({', '.join(model.classes[:3])}, ..) and the data in "
            f"{root} {data.num_classes} ({', '.join(data.classes[:3])}, ..): give the data that it was trained on"
        )


def split_images(model: LoadedModel, images: Images, tested: ImageData, *, test_is_validation: bool) -> Split:
    """Which images choose and which are only reported on; no image that chooses was trained on."""
    everything, none = torch.arange(len(images.data.test)), torch.arange(0)
    other_test = torch.arange(len(tested.test)) if tested is not images.data else none
    if test_is_validation:
        note = f"the test part of {images.data.name}, which you said holds validation images"
        return Split(images.training(), everything, "test", other_test, note)
    part = (model.content.get("recipe") or {}).get("part")
    public = model.content["format"] == TIMM_FORMAT
    if part == "supernet" or (public and images.data.val is not None):
        train, val = images.split()
        test = other_test if tested is not images.data else everything
        return Split(train, val, "train", test, "the validation part, which the network was not trained on")
    if tested is not images.data:
        note = f"the test part of {images.data.name} under --data-root, as the network was trained on all the rest"
        return Split(images.training(), everything, "test", other_test, note)
    order = torch.randperm(len(everything), generator=generator_for(0, len(everything)))
    half = len(everything) // 2
    note = (
        f"a random half of the {len(everything)} test images, as the network was trained on all the training images; "
        "the other half is only reported on"
    )
    return Split(images.training(), order[:half].sort().values, "test", order[half:].sort().values, note)
