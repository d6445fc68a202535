"""Recipes: every shipped one is read, and every wrong field gets a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from classification.recipe import Recipe
from ean_core import EANError
from ean_core.attention import ATTENTIONS
from ean_core.cli import backends_of, parse_options
from ean_core.data import DATASETS
from ean_core.networks import stages_blocks
from ean_core.search import METHODS, build_method

CONFIGS = sorted((Path(__file__).parents[2] / "classification" / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_complete(path: Path) -> None:
    recipe = Recipe.from_file(path)
    assert recipe.name == path.stem
    assert stages_blocks(recipe.model.arch)
    assert recipe.model.attention in ATTENTIONS
    assert recipe.data.name in DATASETS
    assert recipe.search.method in METHODS
    build_method(recipe.search.method, (3, 3, 3), seed=0, reward=recipe.search.reward, options=recipe.search.options)


def test_the_papers_cifar_recipe() -> None:
    recipe = Recipe.from_file(CONFIGS[0].parent / "ean_se_r164_cifar100.py")
    train = recipe.train
    assert (train.epochs, train.lr, train.milestones, train.gamma, train.batch_size) == (164, 0.1, (81, 122), 0.1, 128)
    assert (train.momentum, train.weight_decay, train.nesterov, train.ema) == (0.9, 1e-4, False, None)
    assert (recipe.supernet.epochs, recipe.search.steps, recipe.data.val_per_class) == (150, 1000, 100)
    assert (recipe.supernet.sandwich, recipe.search.bn_images) == (False, 0)
    assert recipe.data.train_per_class is None


def test_the_papers_imagenet_recipe() -> None:
    recipe = Recipe.from_file(CONFIGS[0].parent / "ean_dia_r50_imagenet.py")
    assert (recipe.train.epochs, recipe.train.milestones, recipe.train.batch_size) == (120, (30, 60, 90), 256)
    assert (recipe.supernet.epochs, recipe.search.steps, recipe.model.attention) == (40, 300, "dia")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ({"serch.steps": 3}, r"unknown field 'serch' in .*tiny.py.*did you mean 'search'"),
        ({"search.step": 3}, r"unknown field 'step' in section 'search'.*did you mean 'steps'"),
        ({"train.epochs": "many"}, "train.epochs must be a whole number, got 'many'"),
        ({"train.epochs": 0}, "^train.epochs must be at least 1 and"),
        ({"supernet.epochs": 0}, "^supernet.epochs must be at least 1 and"),
        ({"supernet.warmup_epochs": 9.0}, "^supernet.warmup_epochs must be fewer"),
        ({"train.compile": 1}, "train.compile must be true or false.*, got 1"),
        ({"train.schedule": "linear"}, "^train.schedule must be one of step, cosine"),
        ({"train.milestones": [1]}, "^train.milestones need schedule 'step'"),
        ({"train.optimizer": "lion"}, "^train.optimizer must be one of sgd, adam, adamw, got 'lion'"),
        ({"train.optimizer": "adam", "train.nesterov": True}, "^train.nesterov needs optimizer 'sgd'"),
        ({"train.precision": "int8"}, "^train.precision must be one of float32, bfloat16"),
        ({"search.returned": "worst"}, "one of best, most_probable, smoothed"),
        ({"model": "resnet20"}, "model must be a dictionary"),
        ({"train": None}, "lacks the section 'train'"),
        ({"retrain": ["eann"]}, "unknown entry of retrain 'eann'.*did you mean 'ean'"),
        ({"retrain": "ean"}, "retrain must be a list of strings"),
        ({"seeds": 5}, "seeds must be a list of whole numbers, got 5"),
        ({"seeds": []}, "has no seeds"),
        ({"seeds": [0, -3]}, r"seeds \[0, -3\]: give numbers from 0 to 4294967295"),
        ({"seed": 2**32}, "has seed 4294967296"),
        ({"seeds": [1, 1]}, "each once"),
        ({"seed": -1}, "has seed -1"),
        ({"train.milestones": 5}, "milestones must be a list of whole numbers"),
        ({"train.lr": -1.0}, "^train.lr must be at least 1e-12 and at most 1000, got -1.0"),
        ({"train.ema": 2.0}, "ema must be at least 0 and at most 0.9"),
        ({"search.steps": 0}, "search.steps must be at least 1"),
        ({"search.bn_images": -5}, "search.bn_images must be at least 0"),
        ({"search.options": 5}, "options must be a dictionary"),
        ({"supernet.random_paths": 0}, "random_paths must be at least 1"),
    ],
)
def test_a_wrong_field_is_named(tiny: Path, override: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        Recipe.from_file(tiny, override)


def test_a_missing_field_and_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "r.py").write_text("model = dict(arch='resnet20')\ndata = dict(name='digits')\n")
    with pytest.raises(EANError, match="lacks the field 'train'"):
        Recipe.from_file(tmp_path / "r.py")
    with pytest.raises(EANError, match="does not exist"):
        Recipe.from_file(tmp_path / "none.py")
    (tmp_path / "bad.py").write_text("model = (")
    with pytest.raises(EANError, match=r"bad\.py cannot be read"):
        Recipe.from_file(tmp_path / "bad.py")


def test_options_are_python_values_or_strings() -> None:
    assert parse_options(["a.b=3", "c=[1, 2]", "d=resnet20", "e=None"]) == {
        "a.b": 3,
        "c": [1, 2],
        "d": "resnet20",
        "e": None,
    }
    with pytest.raises(EANError, match="NAME=VALUE, got 'steps'"):
        parse_options(["steps"])
    with pytest.raises(EANError, match="unknown log 'tensorbord'.*did you mean 'tensorboard'"):
        backends_of(["tensorbord"])
