"""A counting run's recipe: typed sections whose defaults are the ShanghaiTech recipe, changed by a file or by flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from crowd_counting.density import Kernel
from crowd_counting.model.losses import LOSSES
from crowd_counting.model.network import FEATURES, HEAD_NORMS, STRIDES
from ean_core.training.schedule import TrainSettings
from ean_core.utils.config import build
from ean_core.utils.config_files import check_config_file
from ean_core.utils.errors import EANError, unknown_name
from ean_core.utils.recipe_file import read_recipe_file

BATCH_NORMS = ("train", "frozen")


@dataclass(frozen=True)
class ModelRecipe:
    """Which counter.

    Attributes:
        arch: a name of `ean_core.networks.ARCHITECTURES`; None: the one of the weights or the scheme file, else
            "resnet50".
        attention: a name of `ean_core.attention.ATTENTIONS`; None: that of the weights or the scheme file, else none.
        attention_options: overrides of the paper's options.
        scheme: "org", "share-full", "org-full", bits or a scheme.json; None: that of the weights, else all ones.
        weights: where training starts: a classifier.pth of tools/train_cls.py, a file or an address of public weights,
            torchvision://resnet50, "imagenet" for the architecture's public ones, or None for random ones.
        features: "stage3" (the usual counter: stage 4 dropped) or "all" (every stage, joined by a light decoder).
        stride: pixels per cell of the density map, one of 4, 8, 16.
        head_channels: between the head's two 1x1 convolutions, and of the decoder.
        head_norm: "none", or "group" for a group norm in the head, which knows no batch.
        output_scale: the network gives so many times the density; 100 as in the C^3 Framework (arXiv 1907.02724).
    """

    arch: str | None = None
    attention: str | None = None
    attention_options: Mapping[str, Any] = field(default_factory=dict)
    scheme: str | None = None
    weights: str | None = None
    features: str = "stage3"
    stride: int = 8
    head_channels: int = 64
    head_norm: str = "none"
    output_scale: float = 100.0

    def __post_init__(self) -> None:
        check_choice("model.features", self.features, FEATURES)
        check_choice("model.stride", self.stride, STRIDES)
        check_choice("model.head_norm", self.head_norm, HEAD_NORMS)


@dataclass(frozen=True)
class DataRecipe:
    """Which images, and how they are shown.

    Attributes:
        crop: side in pixels of the random training crops, a multiple of the stride; None: whole images, which are
            padded to the largest of their batch.
        scale_min, scale_max: training images are resized by a random factor between these.
        flip: mirror training images left to right with probability 1/2.
        kernel: of the density maps: "fixed:SIGMA" (pixels), "adaptive" or "dots".
        val_share: of the training images, held out to choose the checkpoint.
        split_seed: of that draw, the same for all seeds of a run.
        split: a split.json in place of the draw.
        cache: an HDF5 file of density maps, as prepare.py writes it, in place of rendering; takes no scaling.
        workers: threads that decode images.
    """

    crop: int | None = 384
    scale_min: float = 1.0
    scale_max: float = 1.0
    flip: bool = True
    kernel: str = "fixed:4"
    val_share: float = 0.1
    split_seed: int = 0
    split: str | None = None
    cache: str | None = None
    workers: int = 4

    def __post_init__(self) -> None:
        Kernel.parse(self.kernel)
        if not 0 < self.scale_min <= self.scale_max:
            raise EANError(f"data.scale_min {self.scale_min} and data.scale_max {self.scale_max}: give 0 < min <= max")
        if self.crop is not None and self.crop < 16:
            raise EANError(f"data.crop must be at least 16 pixels, got {self.crop}")
        if self.cache is not None and (self.scale_min, self.scale_max) != (1.0, 1.0):
            raise EANError(
                "data.cache holds maps of unscaled images: leave out the cache, or data.scale_min and scale_max"
            )


@dataclass(frozen=True)
class TrainRecipe:
    """How long and how fast.

    Attributes:
        epochs: passes over the training images, one view of each.
        batch_size: views per step, over all processes together. With `batch_norm`, it decides the result on part A.
        lr: learning rate.
        optimizer: "adam", "adamw" or "sgd" (momentum 0.9).
        weight_decay: of the optimizer.
        schedule: "step" (at `milestones`, none: constant) or "cosine" (to zero).
        milestones: epochs at which the rate is multiplied by `gamma`.
        gamma: see there.
        warmup_epochs: epochs of linear warm-up.
        batch_norm: "train" (statistics of the batch, running means for the test) or "frozen" (the statistics of the
            weights that training starts from); None: "frozen" with weights, "train" without.
        loss: "mse", "bayesian" or "dm_count".
        loss_options: of the loss, such as `{"sigma": 8.0}`; see `crowd_counting/model/losses.py`.
        validate_every: epochs between two counts of the held-out images; the best of them is the one that is kept.
        precision: "float32" or "bfloat16" (autocast).
        channels_last: memory format; None: as the device likes it, when the run starts.
        save_interval: epochs between two saves of the state.
    """

    epochs: int = 400
    batch_size: int = 8
    lr: float = 1e-5
    optimizer: str = "adam"
    weight_decay: float = 1e-4
    schedule: str = "step"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    batch_norm: str | None = None
    loss: str = "mse"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    validate_every: int = 5
    precision: str = "float32"
    channels_last: bool | None = None
    save_interval: int = 1

    def __post_init__(self) -> None:
        check_choice("train.batch_norm", self.batch_norm, (None, *BATCH_NORMS))
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, list(LOSSES))
        build(LOSSES[self.loss], self.loss_options, where=f"train.loss_options of {self.loss}")
        if self.validate_every < 1:
            raise EANError(f"train.validate_every must be at least 1, got {self.validate_every}")
        self.settings()

    def settings(self) -> TrainSettings:
        """The shared runner's settings, which check the values: the fields of the same name, and `validate_every`.

        The others (label smoothing, averaged weights, ..) are a classifier's and keep their defaults.
        """
        names = {field.name for field in dataclasses.fields(TrainSettings)} & set(vars(self))
        return TrainSettings(**{name: getattr(self, name) for name in names}, val_interval=self.validate_every)


@dataclass(frozen=True)
class Recipe:
    """All of a run: the sections `model`, `data` and `train`."""

    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)

    def __post_init__(self) -> None:
        if self.data.crop is not None and self.data.crop % self.model.stride:
            raise EANError(f"data.crop {self.data.crop} must be a multiple of model.stride {self.model.stride}")
        if self.data.cache is not None and not LOSSES[self.train.loss].takes_maps:
            raise EANError(
                f"loss {self.train.loss!r} is computed from points and has no use for data.cache: leave it out"
            )

    @classmethod
    def read(cls, path: str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
        """The defaults, changed by a file and then by `overrides`.

        Args:
            path: a Python file with dictionaries `model`, `data`, `train`; None for the defaults.
            overrides: dotted names and values, such as `{"train.lr": 1e-4}`.

        Raises:
            EANError: if the file cannot be read, or a field is unknown or of the wrong kind.
        """
        if path is not None:
            check_config_file(path, folders=["crowd_counting/configs"])
        where = str(path or "the recipe")
        try:
            config = Config() if path is None else read_recipe_file(path)
            config.merge_from_dict(dict(overrides))
        except EANError:
            raise
        except Exception as error:  # a configuration is code, and can fail in any way
            first = (str(error).splitlines() or [""])[0]
            raise EANError(f"{where} cannot be read ({type(error).__name__}: {first[:200]})") from None
        values = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
        sections = {"model": ModelRecipe, "data": DataRecipe, "train": TrainRecipe}
        for key, value in values.items():
            if key not in sections:
                raise unknown_name(f"section in {where}", key, list(sections))
            if not isinstance(value, Mapping):
                raise EANError(f"{where}: {key} must be a dictionary, got {value!r}")
        built = {
            key: build(section, values.get(key, {}), where=f"{where}, section {key!r}")
            for key, section in sections.items()
        }
        return cls(**built)

    def to_dict(self) -> dict[str, Any]:
        """All sections as nested dictionaries, for records."""
        return dataclasses.asdict(self)


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Refuse a value that is not among the choices, naming them all."""
    if value not in choices:
        raise EANError(f"{name} is one of {', '.join(map(str, choices))}, got {value!r}")
