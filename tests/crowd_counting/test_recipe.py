"""Recipes: files and overrides, and what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowd_counting.recipe import Recipe
from ean_core.training.settings import TrainSettings
from ean_core.utils.errors import EANError

CONFIGS = Path(__file__).parents[2] / "crowd_counting" / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.name)
def test_every_config_can_be_read(path: Path) -> None:
    assert Recipe.read(path, {}) != Recipe()


def test_file_then_overrides(tmp_path: Path) -> None:
    text = 'train = dict(lr=1e-4, epochs=7, loss="bayesian", loss_options=dict(sigma=4.0))'
    (tmp_path / "mine.py").write_text(text)
    recipe = Recipe.read(tmp_path / "mine.py", {"train.epochs": 9, "data.crop": None})
    assert (recipe.train.lr, recipe.train.epochs, recipe.data.crop) == (1e-4, 9, None)
    assert recipe.train.loss_options == {"sigma": 4.0}


def test_the_runner_gets_every_field_that_it_knows() -> None:
    options = {"lr": 1e-3, "optimizer": "adamw", "weight_decay": 0.25, "milestones": [3], "validate_every": 2}
    recipe = Recipe.read(None, {f"train.{name}": value for name, value in options.items()})
    assert recipe.train.settings() == TrainSettings(
        epochs=400, batch_size=8, lr=1e-3, optimizer="adamw", weight_decay=0.25, milestones=(3,), val_interval=2
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"train.loss": "mae"},
            "unknown loss 'mae': choose one of mse, bayesian, dm_count, poisson, zero_inflated; did",
        ),
        ({"train.loss_options.sigma": 3.0}, "unknown option 'sigma' in train.loss_options of mse"),
        ({"train.epochz": 3}, "unknown field 'epochz' in section 'train' of the recipe.* did you mean 'epochs'"),
        ({"training.epochs": 3}, "unknown field 'training' in the recipe: .*did you mean 'train'"),
        ({"train": 3}, "train must be a dictionary, got 3"),
        ({"train.epochs": "many"}, "train.epochs must be a whole number, got 'many'"),
        ({"train.epochs": 0}, "^train.epochs must be at least 1"),
        ({"train.batch_size": 0}, "batch_size must be at least 1"),
        ({"train.validate_every": 0}, "train.validate_every must be at least 1"),
        ({"train.warmup_epochs": 400.0}, "warmup_epochs must be fewer than the 400 epochs, got 400.0"),
        ({"train.optimizer": "lion"}, "train.optimizer must be one of sgd, adam, adamw, got 'lion'"),
        ({"train.batch_norm": "eval"}, "train.batch_norm must be one of None, train, frozen, got 'eval'"),
        ({"train.precision": "half"}, "precision must be one of float32, bfloat16"),
        ({"data.kernel": "fixed"}, "kernel must be 'fixed:SIGMA'"),
        ({"data.crop": 100}, "data.crop 100 must be a multiple of model.stride 8"),
        ({"data.crop": 8}, "data.crop must be at least 16"),
        ({"data.scale_min": 2.0}, "must satisfy 0 < min <= max"),
        ({"data.cache": "a.h5", "data.scale_max": 1.5}, "data.cache holds maps of unscaled images"),
        ({"data.cache": "a.h5", "train.loss": "dm_count"}, "loss 'dm_count' is computed from points"),
        ({"model.features": "stage4"}, "model.features must be one of stage3, all, stride16"),
        ({"model.head_channels": 0}, "model.head_channels must be a whole number from 1"),
        ({"model.output_scale": -1}, "model.output_scale must be a finite number from 1e-06"),
        ({"model.frozen_stages": -1}, "model.frozen_stages must be a whole number from 0 to 4"),
        ({"data.val_share": 1.5}, "data.val_share must be a finite number from 1e-06"),
        ({"data.workers": -1}, "data.workers must be a whole number from 0 to 256"),
        ({"data.split_seed": -1}, "data.split_seed must be a whole number from 0"),
        ({"train.milestones": [-1]}, "train.milestones.0 must be a whole number from 1"),
        ({"train.loss": "bayesian", "train.loss_options.sigma": -1}, "sigma must be a finite number from 0.001"),
        (
            {"train.loss": "poisson", "train.loss_options.count_weight": -1},
            "count_weight must be a finite number",
        ),
        ({"model.stride": 3}, "model.stride must be one of 4, 8, 16"),
        ({"train.loss": "zero_inflated"}, "'zero_inflated' needs model.zero_inflated=True"),
        ({"model.zero_inflated": True}, "train.loss is 'mse' and model.zero_inflated True"),
        ({"data.part": 3}, "data.part must be a string or a list of strings or None"),
    ],
)
def test_every_mistake_has_its_sentence(options: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        Recipe.read(None, options)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EANError, match="does not exist: see crowd_counting/configs/"):
        Recipe.read(tmp_path / "none.py", {})
    (tmp_path / "bad.py").write_text("train = dict(")
    with pytest.raises(EANError, match="bad.py cannot be read"):
        Recipe.read(tmp_path / "bad.py", {})
