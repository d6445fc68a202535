"""The part of a recipe that every task shares: which network, how schemes are searched, what is retrained."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ean_core.attention import load
from ean_core.networks.mean_masks import check_unconnected
from ean_core.search import ANSWERS, Reward
from ean_core.search.method_choice import parse_method
from ean_core.training.settings import TrainSettings
from ean_core.utils.checked_dataclasses import build, shorten
from ean_core.utils.config_path import find_config_file
from ean_core.utils.errors import EANError, first_line, unknown_name
from ean_core.utils.recipe_file import read_recipe_file

MAX_NAME = 200
MAX_NUMBER = 10**9
RETRAIN = ("org", "org-full", "share-full", "ean")

_Recipe = TypeVar("_Recipe", bound="Recipe")


@dataclass(frozen=True)
class ModelRecipe:
    """Which network; what depends on the data, such as the number of classes, comes from there.

    Attributes:
        arch: a name of `ean_core.networks.ARCHITECTURES`, or timm: and the name of a residual network of timm's.
        attention: se, sge, dia, timm's as timm:eca, or your own class as FILE.py:CLASS or MODULE:CLASS.
        attention_options: overrides of the paper's options.
        pretrained: what all networks start from: a file or an address of weights, torchvision://resnet50, or
            "imagenet" for the architecture's public ones (see `ean_core.networks.weights_file`). None (the paper):
            from scratch.
    """

    arch: str
    attention: str = "se"
    attention_options: Mapping[str, Any] = field(default_factory=dict)
    pretrained: str | None = None


@dataclass(frozen=True)
class SupernetRecipe(TrainSettings):
    """How the supernet is trained: `TrainSettings`, and options that the paper does not use.

    Attributes:
        sandwich: train the full, the empty and two random paths in every step.
        random_paths: how many random paths a validation during training scores.
    """

    section: ClassVar[str] = "supernet"
    sandwich: bool = False
    random_paths: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.random_paths <= MAX_NUMBER:
            raise EANError(
                f"supernet.random_paths must be at least 1 and at most {MAX_NUMBER:,}, got {self.random_paths}"
            )
        if self.sandwich and self.cuda_graph:
            raise EANError(
                "supernet.sandwich trains several paths per step and supernet.cuda_graph one: give one of them"
            )
        if self.sandwich:
            object.__setattr__(self, "cuda_graph", False)


@dataclass(frozen=True)
class SearchRecipe:
    """How schemes are searched.

    Attributes:
        steps: T of Algorithm 1.
        method: a name of `ean_core.search.METHODS`, or your own class as FILE.py:CLASS; options may follow, as in
            "hsp:period=2".
        options: of the method, such as `{"preset": "released"}`.
        max_evaluations: stop after the step in which so many different schemes were scored; None for no limit.
        reward: weights of Eq. 7.
        bn_images: training images, augmented, over which batch norm is calibrated before a scheme is scored; 0 for
            not (paper).
        bn_batch_size: images per forward pass of the calibration; small, since it runs in training mode, whose
            memory traffic makes large batches slow on a CPU.
        batch_size: images per forward pass when scoring.
        returned: which scheme the search gives: "best" (highest reward of all scored), "most_probable" (of the
            controller at the end) or "smoothed" (highest reward of all scored once chance is taken out); None for the
            method's own, "smoothed" for the preset natural of EAN and "best" for all others.
        latency: a table of `tools/benchmark.py --per-block`, for `reward.latency` and `max_increment`; None: time does
            not count.
        latency_batch: images per forward pass that the time is meant for, for counters and segmentors 1 at most; the
            table must have the same.
        latency_device: the device that it is meant for, as the table names it; None for the one that searches.
        unconnected: what a block of the supernet that the path does not connect does to its residual: "identity" (the
            paper), or "mean", which multiplies it by the mean of its mask (`ean_core.networks.mean_masks`).
        max_increment: no scheme is scored that is predicted to be more than so many percent slower than Org.
    """

    steps: int
    method: str = "ean"
    options: Mapping[str, Any] = field(default_factory=dict)
    max_evaluations: int | None = None
    reward: Reward = field(default_factory=Reward)
    bn_images: int = 0
    bn_batch_size: int = 100
    batch_size: int = 500
    returned: str | None = None
    latency: str | None = None
    latency_batch: int = 50
    latency_device: str | None = None
    unconnected: str = "identity"
    max_increment: float | None = None

    def __post_init__(self) -> None:
        check_unconnected(self.unconnected)
        zero = ("bn_images", "max_increment")
        for name in ("steps", "max_evaluations", *zero, "bn_batch_size", "batch_size", "latency_batch"):
            value, low = getattr(self, name), int(name not in zero)
            if value is not None and not low <= value <= MAX_NUMBER:
                raise EANError(f"search.{name} must be at least {low} and at most {MAX_NUMBER:,}, got {value}")
        for name, value in vars(self.reward).items():
            low = -MAX_NUMBER if name == "sparsity" else 0
            if not low <= value <= MAX_NUMBER:
                raise EANError(f"search.reward.{name} must be at least {low} and at most {MAX_NUMBER:,}, got {value}")
        if self.returned not in (None, *ANSWERS):
            raise EANError(
                f"search.returned is one of {', '.join(ANSWERS)}, or None for the method's own, got {self.returned!r}"
            )
        if self.latency is None and (self.max_increment is not None or self.reward.latency):
            name = "search.reward.latency" if self.reward.latency else "search.max_increment"
            raise EANError(
                f"{name} is given without a latency table: measure one with tools/benchmark.py --per-block, and give "
                "it as search.latency=FILE"
            )


@dataclass(frozen=True)
class Recipe:
    """All of a run. A task's own recipe is a subclass that gives `data`, `train` and `supernet` their types.

    Attributes:
        name: of the recipe, from the file's name; also the default work directory's.
        model, data, train, supernet, search: the sections; `train` is the retraining from scratch. The pipeline looks
            into `model` and `search` only, and the task into the others.
        retrain: networks that `tools/search.py` retrains with one recipe after the search, to compare them; any of
            "org", "org-full", "share-full", "ean".
        seed: of the supernet and the search.
        seeds: of the retraining, one run each.
        note: a sentence printed under the results, such as what data they are of.
        configs: folder of the task's recipes, for error messages.
    """

    name: str
    model: ModelRecipe
    data: Any
    train: Any
    supernet: Any = None
    search: SearchRecipe | None = None
    retrain: tuple[str, ...] = ()
    seed: int = 0
    seeds: tuple[int, ...] = (0,)
    note: str = ""

    configs: ClassVar[str]

    def __post_init__(self) -> None:
        self.check_name()
        for label in self.retrain:
            if label not in RETRAIN:
                raise unknown_name("entry of retrain", label, list(RETRAIN))
        if not self.seeds:
            raise EANError(f"recipe {self.name!r} has no seeds: give at least one, as seeds=[0]")
        given = (self.seed, *self.seeds)
        if min(given) < 0 or max(given) >= 2**32 or len(set(self.seeds)) < len(self.seeds):
            raise EANError(
                f"recipe {self.name!r} has seed {self.seed} and seeds {list(self.seeds)}: give numbers from 0 to "
                f"{2**32 - 1}, each once"
            )

    def check_name(self) -> None:
        """Refuse a name that is not that of a directory below work_dirs/.

        Raises:
            EANError: for an empty or very long name, or one with a separator.
        """
        name = self.name
        if not name.strip() or name in (".", "..") or set(name) & set("/\\\0") or len(os.fsencode(name)) > MAX_NAME:
            raise EANError(
                f"name {shorten(name)} of the recipe must be a plain name, of at most {MAX_NAME} bytes and without / "
                "and \\: the work directory is called so"
            )

    @classmethod
    def from_file(cls: type[_Recipe], path: str | Path, overrides: Mapping[str, Any] | None = None) -> _Recipe:
        """Read a configuration file.

        Args:
            path: a Python file of a few dictionaries, with `_base_` files if it likes.
            overrides: dotted names and values that replace the file's, such as `{"search.steps": 10}`.

        Raises:
            EANError: if the file cannot be read, or a field is unknown, missing, or of the wrong kind.
        """
        path = find_config_file(path, folders=[cls.configs])
        try:
            config = read_recipe_file(path)
            config.merge_from_dict(dict(overrides or {}))
        except EANError:
            raise
        except Exception as error:  # a configuration is code, and can fail in any way
            raise EANError(
                f"configuration {path} cannot be read ({type(error).__name__}: {first_line(error)}): see "
                f"{cls.configs}/ for examples"
            ) from None
        values = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
        return cls.from_values({"name": path.stem, **values}, where=str(path))

    @classmethod
    def from_values(cls: type[_Recipe], values: Mapping[str, Any], *, where: str) -> _Recipe:
        """Make a recipe of dictionaries, checked; `where` is what to call them in an error message."""
        recipe = build(cls, values, where=where)
        # The recipe is the user's word, so that classes of the user's own that it names are imported here.
        attention, search = recipe.model.attention, recipe.search
        model = dataclasses.replace(recipe.model, attention=None if attention is None else load(attention))
        if search is not None:
            choice = parse_method(search.method)
            search = dataclasses.replace(search, method=choice.method, options={**choice.options, **search.options})
        return recipe.replace(model=model, search=search)

    def unconnected_in(self, changes: Mapping[str, Any]) -> str:
        """`search.unconnected` for the supernet, whose spec is the recipe's without changes; else "identity".

        A trained network's constant masks would be a part of its norms' weights.
        """
        return "identity" if changes or self.search is None else self.search.unconnected

    def replace(self: _Recipe, **fields: Any) -> _Recipe:
        """A copy with other top-level fields."""
        return dataclasses.replace(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values, as records and network files hold it."""
        return dataclasses.asdict(self)
