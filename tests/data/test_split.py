"""Class-balanced splits: complete, frozen, and of the paper's sizes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from ean_core.data import class_balanced, search_split
from ean_core.utils.errors import EANError


@pytest.fixture
def labels() -> torch.Tensor:
    """500 labels of 10 classes, at random but with 30 of each at least."""
    return torch.from_numpy(np.random.default_rng(1).permutation(np.r_[np.repeat(np.arange(10), 30), [4] * 200]))


@pytest.mark.parametrize("per_class", [1, 7, 30])
def test_class_balanced(labels, per_class):
    chosen = class_balanced(labels, per_class, seed=0)
    assert chosen.dtype == torch.int64
    assert labels[chosen].bincount().tolist() == [per_class] * 10
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_search_split_parts_all_images(labels):
    train, val = search_split(labels, 20, seed=5)
    assert labels[val].bincount().tolist() == [20] * 10
    assert sorted(train.tolist() + val.tolist()) == list(range(500))
    for part in (train, val):
        assert part.tolist() == sorted(part.tolist())


def test_search_split_takes_the_papers_numbers_by_default():
    train, val = search_split(torch.arange(100).repeat(500))
    assert (len(train), len(val)) == (40_000, 10_000)


def test_the_split_is_frozen():
    """A split that moves between versions would let a resumed search train on its validation images."""
    train, val = search_split(torch.arange(3).repeat(6), 2, seed=0)
    assert val.tolist() == VAL
    assert train.tolist() == [i for i in range(18) if i not in VAL]


VAL = [6, 8, 9, 11, 13, 16]


def test_the_split_depends_on_the_seed_alone(labels):
    first = search_split(labels, 20, seed=3)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    random.seed(99)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    second = search_split(labels, 20, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert not torch.equal(first[1], search_split(labels, 20, seed=4)[1])


def test_too_few_images(labels):
    with pytest.raises(EANError, match=r"class 0 has 30 images, fewer than per_class=31"):
        class_balanced(labels, 31, seed=0)
    with pytest.raises(EANError, match=r"class 0 has 30 images and per_class=30 leaves none to train on"):
        search_split(labels, 30)
    with pytest.raises(EANError, match=r"per_class is 0"):
        class_balanced(labels, 0, seed=0)
