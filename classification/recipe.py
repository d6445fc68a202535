"""A classification run's recipe: a few typed sections, read from a file in which every field has a known name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from ean_core.data import Augment
from ean_core.pipeline import recipe
from ean_core.pipeline.recipe import ModelRecipe, SearchRecipe, SupernetRecipe
from ean_core.training.settings import TrainSettings
from ean_core.utils.checked_dataclasses import Positive, Range

__all__ = ["DataRecipe", "ModelRecipe", "Recipe", "SearchRecipe", "SupernetRecipe", "TrainSettings"]


@dataclass(frozen=True)
class DataRecipe:
    """Which images.

    Attributes:
        name: a name of `ean_core.data.DATASETS`.
        train_per_class: training images per class, a seeded subset; None for all.
        val_per_class: images per class that the search split takes from the training images for scoring schemes.
        val_fraction: instead, the share of each class's training images, for classes of unlike sizes.
        image_size: side of folder images; None for the data set's own.
        augment: training-time augmentation; crop padding in pixels, flip, cutout's side in pixels (0: off).
        workers: processes that decode folder images.
        split_seed: of the subset and the search split, the same for all seeds of a run.
    """

    name: str
    train_per_class: Positive | None = None
    val_per_class: Positive = 100
    val_fraction: Annotated[float, Range(1e-6, 1 - 1e-6)] | None = None
    image_size: Annotated[int, Range(1, 8192)] | None = None
    augment: Augment = field(default_factory=Augment)
    workers: Annotated[int, Range(0, 256)] = 4
    split_seed: Annotated[int, Range(0, 2**63 - 1)] = 0


@dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """All of a run; see `ean_core.pipeline.recipe.Recipe` for the fields that all tasks share."""

    data: DataRecipe
    train: TrainSettings
    supernet: SupernetRecipe | None = None

    configs: ClassVar[str] = "classification/configs"
