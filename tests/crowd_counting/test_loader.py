"""Batches: what is in them, and that chance depends on seed, epoch and image only."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crowd_counting.data.density_cache import DensityCache, write_cache
from crowd_counting.data.loader import Batch, CrowdLoader
from crowd_counting.data.points import CrowdData
from crowd_counting.density import adaptive_sigmas, render_density
from crowd_counting.job import whole_images
from crowd_counting.model.losses import Target
from crowd_counting.recipe import DataRecipe
from ean_core.data.loader import Plan
from ean_core.utils.errors import EANError


def loader(
    crowd: CrowdData, *, seed: int = 0, batch_size: int = 3, cache: DensityCache | None = None, **options: object
):
    recipe = DataRecipe(**{"crop": 48, "workers": 0, **options})
    return CrowdLoader(crowd.train, Plan(batch_size, train=True, seed=seed), recipe, stride=8, cache=cache)


def same(one: Batch, other: Batch) -> bool:
    return torch.equal(one["inputs"], other["inputs"]) and all(
        torch.equal(a, b) for a, b in zip(one["points"], other["points"], strict=True)
    )


def test_a_training_batch(crowd: CrowdData) -> None:
    batches = list(loader(crowd, scale_min=0.8, scale_max=1.2))
    assert len(batches) == len(loader(crowd)) == 2
    seen = []
    for batch in batches:
        assert batch["inputs"].shape == (3, 3, 48, 48)
        assert batch["inputs"].dtype == torch.uint8
        for picture, size, points in zip(batch["inputs"], batch["sizes"].tolist(), batch["points"], strict=True):
            assert picture[:, size[0] :].sum() + picture[:, :, size[1] :].sum() == 0
            assert ((points >= 0) & (points < torch.tensor(size[::-1]))).all()
        seen += [image.name for image in batch["images"]]
    assert len(set(seen)) == 6


@pytest.mark.parametrize("workers", [0, 3])
def test_chance_depends_on_seed_epoch_and_image_only(crowd: CrowdData, workers: int) -> None:
    first = loader(crowd, workers=workers)
    epochs = [list(first), list(first)]
    later = loader(crowd)
    later.set_epoch(1)
    torch.rand(3)  # global state is not looked at
    assert all(same(a, b) for a, b in zip(epochs[1], later, strict=True))
    assert not all(same(a, b) for a, b in zip(*epochs, strict=True))
    assert not all(same(a, b) for a, b in zip(epochs[0], loader(crowd, seed=1), strict=True))


def test_every_epoch_shows_other_views(crowd: CrowdData) -> None:
    one = dataclasses.replace(crowd, train=crowd.train[:1])  # no order to differ in
    batches = loader(one, batch_size=1)
    shown = [next(iter(batches)) for _ in range(4)]
    assert not any(same(a, b) for a, b in itertools.combinations(shown, 2))


def test_a_view_does_not_depend_on_its_batch(crowd: CrowdData) -> None:
    def views(size: int) -> dict[str, torch.Tensor]:
        batches = loader(crowd, batch_size=size)
        return {
            image.name: picture
            for batch in batches
            for image, picture in zip(batch["images"], batch["inputs"], strict=True)
        }

    large, small = views(4), views(2)
    assert all(torch.equal(large[name], small[name]) for name in large)


def test_whole_images_for_evaluation(crowd: CrowdData) -> None:
    batches = list(whole_images(crowd.test, stride=8))
    assert [batch["images"][0].name for batch in batches] == ["IMG_1", "IMG_2", "IMG_3"]
    for batch, image in zip(batches, crowd.test, strict=True):
        height, width = image.size
        assert batch["sizes"].tolist() == [list(image.size)]
        assert batch["inputs"].shape[2:] == (-(-height // 8) * 8, -(-width // 8) * 8)
        pixels = np.asarray(Image.open(image.path).convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(batch["inputs"][0, :, :height, :width].numpy(), pixels)
        assert np.allclose(batch["points"][0].numpy(), image.points, atol=1e-4)


def test_grayscale_images_have_three_equal_channels(crowd: CrowdData) -> None:
    assert Image.open(crowd.test[2].path).mode == "L"
    inputs = list(whole_images(crowd.test, stride=8))[2]["inputs"][0]
    assert torch.equal(inputs[0], inputs[1])
    assert torch.equal(inputs[0], inputs[2])
    assert inputs.float().std() > 10


def test_whole_images_for_training_are_padded_to_the_largest(crowd: CrowdData) -> None:
    for batch in loader(crowd, crop=None):
        largest = [-(-max(sizes) // 8) * 8 for sizes in batch["sizes"].T.tolist()]
        assert list(batch["inputs"].shape[2:]) == largest


def test_adaptive_spreads_are_of_the_whole_image_and_scale_with_it(crowd: CrowdData) -> None:
    for batch in loader(crowd, kernel="adaptive", scale_min=1.5, scale_max=1.5, batch_size=1, crop=24):
        image = batch["images"][0]
        assert len(batch["sigmas"][0]) == len(batch["points"][0])
        whole = 1.5 * adaptive_sigmas(image.points)
        for sigma in batch["sigmas"][0].tolist():
            assert np.abs(whole / sigma - 1).min() < 0.02


def test_cached_maps_are_those_of_the_view(tmp_path: Path, crowd: CrowdData) -> None:
    """Whole images, mirrored or not: the map that is read is the map that would be rendered."""
    write_cache(tmp_path / "maps.h5", crowd, kernel="fixed:4", stride=8)
    cache = DensityCache(tmp_path / "maps.h5", crowd, kernel="fixed:4", stride=8)
    for batch in loader(crowd, cache=cache, batch_size=1):
        assert batch["density"].shape == (1, 6, 6)
        rendered = Target(batch["points"], batch["sizes"], 8, batch["sigmas"]).maps(batch["density"].shape)
        inner = (slice(None), slice(2, 4), slice(2, 4))  # away from the border, over which heads outside reach
        torch.testing.assert_close(batch["density"][inner], rendered[inner], rtol=0.05, atol=0.02)
    image = crowd.train[4]  # 64 x 64: whole cells
    np.testing.assert_allclose(cache[image.name], render_density(image.points, image.size, 8).numpy())


def test_a_broken_image_says_its_name_through_the_threads(crowd: CrowdData) -> None:
    path = crowd.train[0].path
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(EANError, match="cannot decode the image .*IMG_1.jpg"):
        list(loader(crowd, workers=2, batch_size=8))
    with pytest.raises(EANError, match="data.workers must be 0 or more"):
        loader(crowd, workers=-1)


def test_some_training_crops_lose_their_colors_but_change_nothing_else(crowd: CrowdData) -> None:
    plan = Plan(1, train=True, seed=3)
    recipe = DataRecipe(crop=32, workers=0)
    colored, partly = (
        [batch for _ in range(6) for batch in CrowdLoader(crowd.train, plan, given, stride=8)]
        for given in (recipe, dataclasses.replace(recipe, gray=0.5))
    )
    changed = 0
    for before, after in zip(colored, partly, strict=True):
        assert torch.equal(before["points"][0], after["points"][0])
        if not torch.equal(before["inputs"], after["inputs"]):
            changed += 1
            red, green, blue = before["inputs"][0].float()
            luma = (0.299 * red + 0.587 * green + 0.114 * blue).round()
            assert all(torch.equal(channel.float(), luma) for channel in after["inputs"][0])
    assert 0.3 < changed / len(colored) < 0.7  # one of the photos has no colors
    whole = CrowdLoader(crowd.test, Plan(1, train=False), DataRecipe(workers=0, gray=1.0), stride=8)
    assert any(not torch.equal(batch["inputs"][0, 0], batch["inputs"][0, 2]) for batch in whole)
