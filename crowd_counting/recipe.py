"""The recipe of a counting run: typed sections that default to the ShanghaiTech recipe, changed by a file or flags.

With the sections `supernet` and `search` its schemes can be searched, as `ean_core.pipeline.recipe` describes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from mmengine.config import Config

from crowd_counting.density import Kernel
from crowd_counting.model.losses import LOSSES
from crowd_counting.model.network import FEATURES, HEAD_NORMS, STRIDES, check_choice
from ean_core.pipeline import recipe
from ean_core.training.settings import MAX_FACTOR, RANGES, TrainSettings
from ean_core.utils.checked_dataclasses import Positive, Range, build
from ean_core.utils.errors import EANError, first_line, unknown_name

BATCH_NORMS = ("train", "frozen")
MAX_CROP = 8192  # pixels
MAX_SCALE = 16


@dataclass(frozen=True)
class ModelRecipe:
    """The counting network.

    Attributes:
        arch: a name of `ean_core.networks.ARCHITECTURES`; None: that of the weights or the scheme file, else
            "resnet50".
        attention: a name of `ean_core.attention.ATTENTIONS`; None: that of the weights or the scheme file, else none.
        attention_options: overrides of the paper's options.
        scheme: "org", "share-full", "org-full", bits or a scheme.json; None: that of the weights, else all ones.
        weights: initial weights: a classifier.pth of tools/train_cls.py, a file or URL of public weights,
            torchvision://resnet50, "imagenet" for the architecture's public weights, or None for random weights.
        features: "stage3" (the usual counter: stage 4 dropped), "all" (every stage, merged by a light decoder), or
            "stride16" (the stages up to stride 16, the last with two dilated convolutions).
        stride: pixels per cell of the density map, one of 4, 8, 16.
        head_channels: channels between the head's two 1x1 convolutions, and of the decoder.
        head_norm: "none", or "group" for a group norm in the head, which is independent of the batch.
        output_scale: factor between the raw output and the density; 100 as in the C^3 Framework (arXiv 1907.02724).
        zero_inflated: a head with two outputs, for train.loss="zero_inflated".
        frozen_stages: the trunk's stem and this many stages keep their initial weights; 0: everything is trained.
    """

    arch: str | None = None
    attention: str | None = None
    attention_options: Mapping[str, Any] = field(default_factory=dict)
    scheme: str | None = None
    weights: str | None = None
    features: str = "stage3"
    stride: int = 8
    head_channels: Annotated[int, Range(1, 65536)] = 64
    head_norm: str = "none"
    output_scale: Annotated[float, Range(1e-6, 1e6)] = 100.0
    zero_inflated: bool = False
    frozen_stages: Annotated[int, Range(0, 4)] = 0

    def __post_init__(self) -> None:
        check_choice("model.features", self.features, FEATURES)
        check_choice("model.stride", self.stride, STRIDES)
        check_choice("model.head_norm", self.head_norm, HEAD_NORMS)


@dataclass(frozen=True)
class DataRecipe:
    """Loading, cropping and augmenting the images.

    Attributes:
        part: "A", "B" or "demo" of ShanghaiTech, for commands without --part and --annotations; ("A", "B") trains on
            both together.
        annotations: instead, a .json or .csv of points, see `crowd_counting/data/points_file.py`.
        empty: a folder of photos without people, added to the training images.
        crop: side in pixels of the random training crops, a multiple of the stride; None: whole images,
            padded to the largest of their batch.
        scale_min, scale_max: range of the random factor by which training images are resized.
        flip: mirror training images left to right with probability 1/2.
        gray: probability that a training crop loses its colors.
        kernel: kernel of the density maps: "fixed:SIGMA" (pixels), "adaptive" or "dots".
        val_share: fraction of the training images held out to choose the checkpoint.
        split_seed: seed of that split, the same for all seeds of a run.
        split: a split.json to use instead.
        cache: an HDF5 file of density maps, written by prepare.py, instead of rendering; requires unscaled crops.
        workers: number of threads that decode images.
    """

    part: str | tuple[str, ...] | None = None
    annotations: str | None = None
    empty: str | None = None
    crop: int | None = 384
    scale_min: float = 1.0
    scale_max: float = 1.0
    flip: bool = True
    gray: float = 0.0
    kernel: str = "fixed:4"
    val_share: Annotated[float, Range(1e-6, 1 - 1e-6)] = 0.1
    split_seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    split: str | None = None
    cache: str | None = None
    workers: Annotated[int, Range(0, 256)] = 4

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts to train on; none where the data are named otherwise."""
        return (self.part,) if isinstance(self.part, str) else self.part or ()

    def __post_init__(self) -> None:
        Kernel.parse(self.kernel)
        if not 0 < self.scale_min <= self.scale_max:
            raise EANError(
                f"data.scale_min {self.scale_min} and data.scale_max {self.scale_max} must satisfy 0 < min <= max"
            )
        if self.scale_min < 1 / MAX_SCALE or self.scale_max > MAX_SCALE:
            raise EANError(
                f"data.scale_min {self.scale_min} and data.scale_max {self.scale_max} must lie between 1/{MAX_SCALE} "
                f"and {MAX_SCALE}"
            )
        if not 0 <= self.gray <= 1:
            raise EANError(f"data.gray is a probability from 0 to 1, got {self.gray}")
        if self.crop is not None and self.crop < 16:
            raise EANError(f"data.crop must be at least 16 pixels, got {self.crop}")
        if self.crop is not None and self.crop > MAX_CROP:
            raise EANError(f"data.crop must be at most {MAX_CROP} pixels, got {self.crop}")
        if self.cache is not None and (self.scale_min, self.scale_max) != (1.0, 1.0):
            raise EANError(
                "data.cache holds maps of unscaled images: omit data.cache, or data.scale_min and data.scale_max"
            )


@dataclass(frozen=True)
class TrainRecipe:
    """The training schedule, optimizer and loss.

    Attributes:
        epochs: passes over the training images, one crop of each.
        batch_size: crops per step, over all processes together. With `batch_norm`, it matters most on part A.
        lr: learning rate.
        trunk_lr_factor: factor of the learning rate for the trunk, whose weights come from a larger data set.
        optimizer: "adam", "adamw" or "sgd" (momentum 0.9).
        weight_decay: weight decay of the optimizer.
        schedule: "step" (at `milestones`; constant without any) or "cosine" (to zero).
        milestones: epochs at which the learning rate is multiplied by `gamma`.
        gamma: factor of the "step" schedule.
        warmup_epochs: epochs of linear warm-up.
        batch_norm: "train" (statistics of the batch, running means for the test) or "frozen" (the statistics of the
            initial weights); None: "frozen" with weights, "train" without.
        loss: "mse", "bayesian", "dm_count", "poisson", or "zero_inflated" (with model.zero_inflated=True).
        loss_options: options of the loss, such as `{"sigma": 8.0}`; see `crowd_counting/model/losses.py`.
        validate_every: epochs between validations; the checkpoint with the best one is kept.
        precision: "float32" or "bfloat16" (autocast).
        channels_last: memory format; None: whichever is faster on the device.
        save_interval: epochs between saves of the training state.
        ema: decay of an exponential moving average of the weights, which is then validated, saved and tested.
    """

    section: ClassVar[str] = "train"
    settings_type: ClassVar[type[TrainSettings]] = TrainSettings
    epochs: int = 400
    batch_size: int = 8
    lr: float = 1e-5
    trunk_lr_factor: float = 1.0
    optimizer: str = "adam"
    weight_decay: float = 1e-4
    schedule: str = "step"
    milestones: tuple[Positive, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    batch_norm: str | None = None
    loss: str = "mse"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    validate_every: int = 5
    precision: str = "float32"
    channels_last: bool | None = None
    save_interval: int = 1
    ema: float | None = None

    def __post_init__(self) -> None:
        check_choice(f"{self.section}.batch_norm", self.batch_norm, (None, *BATCH_NORMS))
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, list(LOSSES))
        where = f"{self.section}.loss_options of {self.loss}"
        build(LOSSES[self.loss], self.loss_options, where=where, what="option")
        if not 0 <= self.trunk_lr_factor <= MAX_FACTOR:
            raise EANError(f"{self.section}.trunk_lr_factor must be from 0 to {MAX_FACTOR}, got {self.trunk_lr_factor}")
        if not 0 <= self.validate_every <= RANGES["val_interval"][1]:
            raise EANError(f"{self.section}.validate_every must be at least 0, got {self.validate_every}")
        if self.section == "train" and self.validate_every < 1:
            raise EANError(f"train.validate_every must be at least 1, got {self.validate_every}")
        self.settings()

    def settings(self) -> TrainSettings:
        """Convert to the shared runner's settings, which also check the values.

        Settings that only classifiers use (label smoothing, averaged weights, ..) keep their defaults.
        """
        names = {field.name for field in dataclasses.fields(self.settings_type)} & set(vars(self))
        factors = {} if self.trunk_lr_factor == 1 else {"counter.trunk": self.trunk_lr_factor}
        values = {name: getattr(self, name) for name in names}
        return self.settings_type(**values, val_interval=self.validate_every, lr_factors=factors)


@dataclass(frozen=True)
class SupernetRecipe(TrainRecipe):
    """How the supernet is trained: what this section does not give is as in `train`.

    Attributes:
        validate_every: epochs between scorings of a few paths, which choose nothing; 0 for none.
        sandwich: train the full, the empty and two random paths in every step.
        random_paths: how many random paths such a scoring has.
    """

    section: ClassVar[str] = "supernet"
    settings_type: ClassVar[type[TrainSettings]] = recipe.SupernetRecipe
    validate_every: int = 0
    sandwich: bool = False
    random_paths: int = 3


@dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """The complete recipe; see `ean_core.pipeline.recipe.Recipe` for the fields that all tasks share."""

    name: str = "counting"
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    supernet: SupernetRecipe | None = None

    configs: ClassVar[str] = "crowd_counting/configs"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.crop is not None and self.data.crop % self.model.stride:
            raise EANError(f"data.crop {self.data.crop} must be a multiple of model.stride {self.model.stride}")
        for section in filter(None, (self.train, self.supernet)):
            check_blocks(section, self.model.stride)
            if LOSSES[section.loss].zero_inflated != self.model.zero_inflated:
                given = f"{section.section}.loss is {section.loss!r} and model.zero_inflated {self.model.zero_inflated}"
                raise EANError(
                    f"{given}: the loss 'zero_inflated' needs model.zero_inflated=True, and no other loss trains such "
                    "a head"
                )
        for section in (self.train, self.supernet):
            if section is not None and self.data.cache is not None and not LOSSES[section.loss].takes_maps:
                raise EANError(f"loss {section.loss!r} is computed from points and does not use data.cache: omit it")

    @classmethod
    def read(cls, path: str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
        """Build a recipe from the defaults, changed by a file and then by `overrides`.

        Args:
            path: a Python file with dictionaries `model`, `data`, `train`, ..; None for the defaults.
            overrides: dotted names and values, such as `{"train.lr": 1e-4}`.

        Raises:
            EANError: if the file cannot be read, or a field is unknown or of the wrong kind.
        """
        if path is not None:
            return cls.from_file(path, overrides)
        config = Config()
        try:
            config.merge_from_dict(dict(overrides))
        except Exception as error:  # MMEngine raises several types for names that do not go together
            raise EANError(f"the recipe's options cannot be read ({first_line(error)})") from None
        return cls.from_values(config.to_dict(), where="the recipe")

    @classmethod
    def from_values(cls, values: Mapping[str, Any], *, where: str) -> Recipe:
        """Make a recipe of dictionaries, checked; the supernet's is completed by the training's."""
        train, supernet = values.get("train", {}), values.get("supernet")
        if isinstance(train, Mapping) and isinstance(supernet, Mapping):
            shared = {name: value for name, value in train.items() if name != "validate_every"}
            values = {**values, "supernet": {**shared, **supernet}}
        return super().from_values(values, where=where)


def check_blocks(train: TrainRecipe, stride: int) -> None:
    """Refuse blocks of a Poisson loss that are not whole cells of the density map.

    Raises:
        EANError: naming the first of them.
    """
    for side in getattr(build(LOSSES[train.loss], train.loss_options, where="", what="option"), "blocks", ()):
        if side % stride:
            raise EANError(
                f"{train.section}.loss_options.blocks has {side} pixels, which is not a multiple of model.stride "
                f"{stride}: give multiples of it"
            )
