"""Every field of every recipe with values that make no sense: refused when the recipe is read, in one sentence."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from segmentation.third_party import ignore_warnings

ignore_warnings()

from classification.recipe import Recipe as ClassifierRecipe  # noqa: E402
from crowd_counting.recipe import Recipe as CounterRecipe  # noqa: E402
from ean_core.utils.errors import EANError  # noqa: E402
from segmentation.config import read_config  # noqa: E402
from segmentation.config_numbers import NUMBERS, check_numbers  # noqa: E402
from segmentation.recipe import Recipe as SegmentorRecipe  # noqa: E402
from tests.conftest import ROOT  # noqa: E402

HUGE = [1e30, -1e30, 10**30, -(10**30), math.nan, math.inf, -math.inf]
"""No number in a recipe may be one of these."""

OTHERS: list[Any] = [None, True, -1, 0, 0.5, "", "x", "../../x", "a" * 9999, [], [0], [-1], [math.nan], {}, {"x": 1}]
SMALL = ROOT / "segmentation" / "configs" / "ean_se_voc_small.py"
SECTIONS: dict[str, Any] = {
    "name": "r",
    "model": {"arch": "resnet20"},
    "train": {"epochs": 3},
    "supernet": {"epochs": 3},
    "search": {"steps": 3},
}
RECIPES: dict[str, tuple[Any, dict[str, Any]]] = {
    "classification": (ClassifierRecipe, {**SECTIONS, "data": {"name": "digits"}}),
    "counting": (CounterRecipe, SECTIONS),
    "segmentation": (
        SegmentorRecipe,
        {name: {"iterations": 3, "config": {}} for name in ("train", "supernet")}
        | {name: SECTIONS[name] for name in ("name", "model", "search")}
        | {"data": {}},
    ),
}


def numbers_of(kind: Any) -> bool:
    """Whether a type has room for a number."""
    return kind in (int, float) or any(numbers_of(part) for part in typing.get_args(kind) if part is not Ellipsis)


def fields_of(cls: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and type of every field, nested dataclasses included."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        kinds = [hints[field.name], *typing.get_args(hints[field.name])]
        inner = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        for kind in inner:
            yield from fields_of(kind, f"{prefix}{field.name}.")
        yield f"{prefix}{field.name}", hints[field.name]


def changed(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """A copy with the field of a dotted name replaced."""
    first, _, rest = name.partition(".")
    inner = values.get(first)
    return {**values, first: changed(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def accepted(read: Callable[[], Any]) -> bool:
    """Whether a recipe is taken; anything but an `EANError` of one line fails the test."""
    message = None
    try:
        read()
    except EANError as error:
        message = str(error)
    assert "\n" not in (message or "")
    return message is None


@pytest.mark.parametrize("task", RECIPES)
def test_every_field(task: str) -> None:
    cls, values = RECIPES[task]
    cls.from_values(values, where="r.py")
    nonsense = []
    for name, kind in fields_of(cls):
        for value in [*HUGE, *([item] for item in HUGE), *OTHERS]:
            taken = accepted(lambda name=name, value=value: cls.from_values(changed(values, name, value), where="r.py"))
            huge = value in HUGE or value != value or (isinstance(value, list) and len(value) == 1 and value[0] in HUGE)
            if taken and huge and numbers_of(kind):
                nonsense.append((name, value))
    assert nonsense == []


MEANINGLESS = [
    ("classification", "train.lr", 0),
    ("classification", "train.lr", 1e20),
    ("classification", "train.ema", 1.0),
    ("classification", "train.momentum", 1.0),
    ("classification", "train.milestones", [5, 3]),
    ("classification", "train.milestones", [0]),
    ("classification", "data.workers", -1),
    ("classification", "data.val_per_class", 0),
    ("classification", "data.val_fraction", 1.0),
    ("classification", "data.image_size", 0),
    ("classification", "data.split_seed", -1),
    ("classification", "search.reward.accuracy", -1.0),
    ("counting", "train.lr", 0),
    ("counting", "train.trunk_lr_factor", -1.0),
    ("counting", "data.crop", 80_000),
    ("counting", "data.workers", 10_000),
    ("counting", "data.val_share", 0.0),
    ("counting", "data.scale_max", 100.0),
    ("counting", "data.kernel", "fixed:1e30"),
    ("counting", "supernet.validate_every", -1),
    ("counting", "name", "../../x"),
    ("segmentation", "name", ".."),
    ("segmentation", "name", " "),
    ("segmentation", "data.split_seed", -1),
]


@pytest.mark.parametrize(("task", "name", "value"), MEANINGLESS)
def test_a_value_without_meaning(task: str, name: str, value: Any) -> None:
    cls, values = RECIPES[task]
    with pytest.raises(EANError, match=name.rpartition(".")[2]):
        cls.from_values(changed(values, name, value), where="r.py")


@pytest.mark.parametrize("section", ["train", "supernet"])
def test_blocks_are_whole_cells(section: str) -> None:
    cls, values = RECIPES["counting"]
    poisson = {"epochs": 3, "loss": "poisson", "loss_options": {"blocks": [16, 20]}}
    with pytest.raises(EANError, match=f"{section}.loss_options.blocks has 20 pixels, .* multiple of model.stride 8"):
        cls.from_values({**values, section: poisson}, where="r.py")


def test_every_number_of_a_segmentation_config() -> None:
    fields = read_config(SMALL).to_dict()
    for name in NUMBERS:
        for value in [*HUGE, -1, True, "x"]:
            config = Config(changed(fields, name, value))
            assert not accepted(partial(check_numbers, config)), (name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optim_wrapper.optimizer.lr", 0),
        ("optim_wrapper.optimizer.lr", 1e20),
        ("model.data_preprocessor.size", (0, 32)),
        ("train_dataloader.dataset.pipeline.3.crop_size", (1e9, 32)),
        ("train_dataloader.num_workers", -1),
        ("custom_hooks.1.interval", 0),
    ],
)
def test_a_number_of_a_segmentation_config_without_meaning(name: str, value: Any) -> None:
    with pytest.raises(EANError, match=name):
        read_config(Path(SMALL), {name: value})
