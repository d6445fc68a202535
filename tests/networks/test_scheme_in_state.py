"""The scheme beside the weights: loading them into a network with other connections does not pass in silence."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch

from ean_core import create_model
from ean_core.data.normalize import Normalize
from ean_core.networks.base import SchemeWarning
from ean_core.supernet.paths import draw_path
from ean_core.training.classifier import ImageClassifier, SupernetClassifier

ONE, OTHER = "100 010 001", "010 010 001"
NORMALIZE = Normalize((0.5,), (0.25,))


def test_another_scheme_is_named_and_the_same_is_quiet(tmp_path: Path) -> None:
    one, other = (create_model("resnet20", attention="se", scheme=scheme) for scheme in (ONE, OTHER))
    torch.save(one.state_dict(), tmp_path / "w.pth")
    for state in (one.state_dict(), torch.load(tmp_path / "w.pth", weights_only=True)):
        with pytest.warns(
            SchemeWarning, match=r"connections 100 \| 010 \| 001, but this network has 010 \| 010 \| 001"
        ):
            other.load_state_dict(state)
    other.set_scheme(ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.load_state_dict(one.state_dict())
        other.load_state_dict(dict(one.state_dict()))  # a plain dictionary says nothing of a scheme
    images = torch.randn(1, 3, 8, 8)
    assert torch.equal(one.eval()(images), other.eval()(images))


def test_the_keys_are_those_of_the_tensors() -> None:
    network = create_model("resnet20", attention="se", scheme=ONE)
    names = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    assert set(network.state_dict()) == names


def test_inside_a_model_and_for_a_supernet() -> None:
    """A supernet's path is that of its last step and belongs to no weights."""
    network = create_model("resnet20", attention="se", scheme=ONE, in_channels=1)
    other = copy.deepcopy(network)
    other.set_scheme(draw_path((3, 3, 3), seed=0, step=0))
    with pytest.warns(SchemeWarning):
        ImageClassifier(other, NORMALIZE).load_state_dict(ImageClassifier(network, NORMALIZE).state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SupernetClassifier(other, NORMALIZE).load_state_dict(SupernetClassifier(network, NORMALIZE).state_dict())
