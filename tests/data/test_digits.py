"""scikit-learn's digits: all of them once, the same every time."""

from __future__ import annotations

import pytest
import torch

from ean_core.data import load_data
from ean_core.utils.errors import EANError


def test_digits():
    data = load_data("digits")
    assert data.image_shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert (len(data.train), len(data.test)) == (1297, 500)
    assert data.test.labels.bincount().tolist() == [50] * 10
    assert data.train.images.dtype == torch.uint8
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    scaled = data.train.images.double() / 255
    assert data.mean[0] == pytest.approx(scaled.mean().item(), abs=1e-4)
    assert data.std[0] == pytest.approx(scaled.std().item(), abs=1e-4)


def test_digits_are_scikit_learns_all_of_them_once():
    from sklearn.datasets import load_digits

    pixels, _ = load_digits(return_X_y=True)
    data = load_data("digits")
    both = torch.cat([data.train.images, data.test.images]).reshape(-1, 64)
    expected = sorted((row * 15.9375 + 0.5).astype(int).tolist() for row in pixels)
    indices = sorted(both.tolist())
    assert max(abs(a - b) for x, y in zip(expected, indices, strict=True) for a, b in zip(x, y, strict=True)) <= 1


def test_digits_are_the_same_every_time():
    assert load_data("digits").fingerprint == load_data("digits").fingerprint


def test_unknown_name_and_size():
    with pytest.raises(EANError, match=r"unknown data set 'digit': choose one of digits, .*did you mean 'digits'"):
        load_data("digit")
    with pytest.raises(EANError, match=r"digits images are 8x8 and image_size=32"):
        load_data("digits", image_size=32)
