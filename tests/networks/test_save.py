"""Networks of a training loop of one's own: pretrained weights, named schemes, and files that all commands take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ean_core
from ean_core import EANError, Scheme, create_model, save
from ean_core.networks.weights_file import read_weights
from tests.conftest import Script
from tests.helpers.tiny_files import CLASSES, shake, tiny_arch, tiny_classifier

__all__ = ["tiny_arch"]

IMAGES = {"classes": CLASSES, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "image_size": 16}


def made(**options: Any) -> ean_core.networks.StagedNetwork:
    return shake(create_model("tiny", **{"num_classes": 4, "attention": "se", "scheme": "11 0 1", **options}))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("whole.pth", lambda net: net),
        ("pruned.safetensors", lambda net: net.prune()),
        ("compiled.pth", lambda net: torch.compile(net)),
        ("parallel.safetensors", lambda net: nn.parallel.DataParallel(net)),
    ],
    ids=["whole", "pruned", "compiled", "parallel"],
)
def test_it_is_loaded_as_it_was(tiny_arch: str, tmp_path: Path, name: str, change: Callable) -> None:
    net, x = made(), torch.rand(2, 3, 16, 16)
    loaded = ean_core.load(save(change(net), tmp_path / name, **IMAGES), device="cpu")
    assert torch.equal(loaded.model.network(x), net(x))
    assert loaded.classes == tuple(CLASSES)
    assert loaded.model.network.scheme == net.scheme
    assert (loaded.model.prepare.mean, loaded.model.prepare.size) == ((0.4, 0.5, 0.6), 16)


def test_the_commands_take_it(tiny_arch: str, tmp_path: Path, script: Script) -> None:
    save(made(sharing="block", scheme=None), tmp_path / "net.pth", **IMAGES)
    assert script("tools/export.py", "net.pth", "--to", "safetensors") == 0
    assert (tmp_path / "net.safetensors").exists()
    assert read_weights(tmp_path / "net.pth").spec.sharing == "block"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"classes": ["a"] * 4}, "classes must be 4 different names"),
        ({"classes": "abcd"}, "save: classes must be a list"),
        ({"mean": [0.5]}, "mean must be 3 numbers from 0 to 1"),
        ({"mean": [124.0, 116.0, 104.0]}, "mean must be 3 numbers from 0 to 1"),
        ({"mean": 0.5}, "save: mean must be a list of finite numbers, got 0.5"),
        ({"mean": [float("nan")] * 3}, "save: mean.0 must be a finite number"),
        ({"classes": [0, 1, 2, 3]}, "save: classes.0 must be a string"),
        ({"classes": set(CLASSES)}, "save: classes must be a list"),
        ({"image_size": 16.5}, "save: image_size must be a whole number"),
        ({"image_size": True}, "save: image_size must be a whole number"),
        ({"data": None}, "save: data must be a string"),
        ({"std": [0.0, 0.2, 0.2]}, "std must be 3 numbers from 0 to 1 and above 0"),
        ({"image_size": 16, "resize": 8}, "resize must be at least image_size"),
        ({"path": "net.bin"}, "saved as .pth or .safetensors"),
    ],
)
def test_values_that_do_not_fit(tiny_arch: str, tmp_path: Path, values: dict, sentence: str) -> None:
    path = tmp_path / values.pop("path", "net.pth")
    with pytest.raises(EANError, match=sentence):
        save(made(), path, **{**IMAGES, **values})
    assert not path.exists()


def test_numpy_values_are_saved_as_plain_ones(tiny_arch: str, tmp_path: Path) -> None:
    values = {"classes": np.array(CLASSES), "mean": np.array([0.4, 0.5, 0.6]), "std": torch.full((3,), 0.25)}
    for name in ("net.pth", "net.safetensors"):
        loaded = ean_core.load(save(made(), tmp_path / name, **values, image_size=np.int64(16)), device="cpu")
        assert loaded.classes == tuple(CLASSES)
        assert loaded.model.prepare.size == 16


def test_networks_that_could_not_be_loaded_again(tiny_arch: str, tmp_path: Path) -> None:
    changed, diverged = made(), made()
    with torch.device("meta"):
        empty = create_model("tiny", num_classes=4)
    changed.conv1 = nn.Conv2d(3, 8, 5)
    nn.init.constant_(diverged.fc.weight, float("nan"))
    for network, sentence in (
        (nn.Linear(2, 2), "got a Linear"),
        (made(num_classes=0), "has no head"),
        (made(strides=(1, 1, 1)), "has a layout of its own"),
        (changed, "was changed after create_model"),
        (diverged, "not finite"),
        (empty, "on the meta device"),
    ):
        for name in ("net.pth", "net.safetensors"):
            with pytest.raises(EANError, match=sentence):
                save(network, tmp_path / name, **IMAGES)
            assert not (tmp_path / name).exists()


def test_pretrained_weights_of_a_file(tiny_arch: str, tmp_path: Path) -> None:
    file = tiny_classifier(tmp_path / "classifier.pth")
    trained = ean_core.load(file).model.network
    net = create_model("tiny", num_classes=7, attention="se", scheme="11 0 1", pretrained=file)
    assert torch.equal(net.conv1.weight, trained.conv1.weight)
    assert net.fc.weight.shape == (7, 16)
    with pytest.raises(EANError, match="holds the weights of another network|holds a tiny"):
        create_model("resnet20", pretrained=file)
    with pytest.raises(EANError, match="no public ImageNet weights of 'resnet20'"):
        create_model("resnet20", pretrained=True)


def test_named_schemes() -> None:
    paper = create_model("resnet50", attention="se", scheme="paper_ean_se_resnet50").scheme
    assert paper == Scheme.load("paper_ean_se_resnet50")
    assert paper.connections == 7
    org_full = create_model("resnet20", attention="se", scheme="org-full")
    assert (org_full.sharing, org_full.scheme) == ("block", Scheme.all_on((3, 3, 3)))
    net = create_model("resnet20", attention="se", scheme="org")
    assert net.scheme.connections == 0
    net.set_scheme("share-full")
    assert net.scheme.connections == 9
    with pytest.raises(EANError, match="org-full has an attention module per block"):
        net.set_scheme("org-full")
    with pytest.raises(EANError, match="did you mean 'paper_ean_se_resnet50'"):
        create_model("resnet50", attention="se", scheme="paper_ean_se_resnet5")
    with pytest.raises(EANError, match="give attention='dia'"):
        create_model("resnet50", scheme="paper_ean_dia_resnet50")
    with pytest.raises(EANError, match="comes with the project: give 'paper_ean_se_resnet50'"):
        create_model("resnet50", attention="se", scheme="schemes/paper_ean_se_resnet50.json")


def test_the_public_names_are_listed() -> None:
    assert {"create_model", "save", "load", "models", "Scheme", "EANError"} <= set(dir(ean_core))
    assert all(getattr(ean_core, name) is not None for name in ean_core.__all__)
    assert dataclasses.is_dataclass(ean_core.Scheme)
