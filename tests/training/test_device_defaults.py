"""What a recipe leaves to the device, and what --fast takes."""

from __future__ import annotations

import dataclasses

import pytest

from classification.recipe import Recipe, SupernetRecipe
from ean_core.training.device_defaults import Placement, describe, for_device
from ean_core.training.work_dir import first_difference
from tests.helpers.processes import ROOT

CONFIGS = ROOT / "classification/configs"
CPU = Placement("cpu", 32, bfloat16=True, compiler=True)
GPU = Placement("cuda", 32, channels_last=True, bfloat16=True, compiler=True)
LARGE = dataclasses.replace(GPU, image_size=224)
SEVERAL = dataclasses.replace(GPU, processes=4)
OLD = Placement("cuda", 32, compiler=True)  # before Ampere
FIELDS = ("precision", "channels_last", "cuda_graph", "compile")


def cifar() -> Recipe:
    return Recipe.from_file(CONFIGS / "ean_se_r164_cifar100.py")


def chosen(recipe: Recipe) -> tuple:
    """The fields of the retraining, which are those of the supernet too."""
    values = [tuple(getattr(section, name) for name in FIELDS) for section in (recipe.train, recipe.supernet)]
    assert values[0] == values[1]
    return values[0]


@pytest.mark.parametrize(
    ("placement", "plain", "fast"),
    [
        (CPU, ("float32", False, False, False), ("bfloat16", True, False, False)),
        (Placement("cpu", 32), ("float32", False, False, False), ("float32", True, False, False)),
        (GPU, ("float32", True, True, False), ("bfloat16", True, True, False)),
        (LARGE, ("float32", True, False, False), ("bfloat16", True, False, True)),
        (dataclasses.replace(LARGE, compiler=False), ("float32", True, False, False), ("bfloat16", True, False, False)),
        (SEVERAL, ("float32", True, False, False), ("bfloat16", True, False, True)),
        (OLD, ("float32", False, True, False), ("float32", False, True, False)),
        (Placement("mps", 32), ("float32", False, False, False), ("float32", False, False, False)),
    ],
)
def test_what_is_left_open_is_as_the_device_likes_it(placement: Placement, plain: tuple, fast: tuple) -> None:
    assert chosen(for_device(cifar(), placement)) == plain
    assert chosen(for_device(cifar(), placement, fast=True)) == fast


def test_what_a_recipe_says_stays() -> None:
    recipe = Recipe.from_file(
        CONFIGS / "quickstart_digits.py", {"train.channels_last": True, "supernet.cuda_graph": False}
    )
    adapted = for_device(recipe, GPU)
    assert adapted.supernet.cuda_graph is False
    assert for_device(recipe, CPU).train.channels_last is True
    assert for_device(adapted, CPU) == adapted  # nothing is open any more


@pytest.mark.parametrize("placement", [CPU, GPU, LARGE])
def test_the_users_word_goes_before_fast(placement: Placement) -> None:
    given = {"train.precision": "float32", "supernet.channels_last": False, "search.batch_size": 7}
    recipe = Recipe.from_file(CONFIGS / "ean_se_r164_cifar100.py", given)
    adapted = for_device(recipe, placement, fast=True, user_set=given)
    assert (adapted.train.precision, adapted.supernet.channels_last, adapted.search.batch_size) == ("float32", False, 7)
    assert (adapted.supernet.precision, adapted.train.channels_last) == ("bfloat16", True)


def test_fast_scores_in_larger_batches_where_images_are_small() -> None:
    assert [for_device(cifar(), placement, fast=True).search.batch_size for placement in (CPU, GPU, LARGE)] == [
        500,
        2000,
        500,
    ]
    assert for_device(cifar(), GPU).search.batch_size == 500


def test_compiled_steps_and_several_paths_are_no_graph() -> None:
    compiled = Recipe.from_file(CONFIGS / "ean_se_r164_cifar100.py", {"train.compile": True})
    assert [for_device(compiled, GPU).train.cuda_graph, for_device(compiled, GPU).supernet.cuda_graph] == [False, True]
    sandwich = Recipe.from_file(CONFIGS / "ean_se_r164_cifar100.py", {"supernet.sandwich": True})
    for fast in (False, True):
        adapted = for_device(sandwich, GPU, fast=fast)
        assert (adapted.supernet.cuda_graph, adapted.train.cuda_graph) == (False, True)
    assert for_device(sandwich, GPU, fast=True).supernet.compile


def test_one_line_says_how() -> None:
    assert describe(for_device(cifar(), CPU), CPU) == "train and supernet in float32, channels_first"
    description = describe(for_device(cifar(), GPU, fast=True), GPU)
    assert description == "train and supernet in bfloat16, channels_last, one CUDA graph per step"
    adapted = for_device(Recipe.from_file(CONFIGS / "ean_se_r164_cifar100.py", {"train.compile": True}), LARGE)
    assert describe(adapted, LARGE) == "train in float32, channels_last, compiled; supernet in float32, channels_last"


def test_how_a_device_runs_a_step_is_no_part_of_a_runs_identity() -> None:
    """A run goes on elsewhere, and so do runs that were begun before a device could choose."""
    open_, plain, fast = cifar(), for_device(cifar(), CPU), for_device(cifar(), GPU)
    for case in (open_, plain, fast):
        for other in (open_, plain, fast):
            for section in ("supernet", "train"):
                identity = [{section: dataclasses.asdict(getattr(recipe, section))} for recipe in (case, other)]
                assert first_difference(*identity) is None
    earlier = {"supernet": dataclasses.asdict(plain.supernet)}
    del earlier["supernet"]["cuda_graph"]
    assert first_difference(earlier, {"supernet": dataclasses.asdict(fast.supernet)}) is None
    low = for_device(cifar(), GPU, fast=True)
    now = {"supernet": dataclasses.asdict(low.supernet)}
    assert first_difference(earlier, now) == ("supernet.precision", "float32", "bfloat16")


def test_the_default_is_open() -> None:
    assert SupernetRecipe(epochs=1).channels_last is None
    assert SupernetRecipe(epochs=1).cuda_graph is None
