"""Every argument of the public functions with values of the wrong kind: an `EANError`, and no file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ean_core
from ean_core import EANError, Scheme

WRONG: list[Any] = [
    True, -1, 1.5, math.nan, 10**30, "nope", "a\0b", b"x", [None], ["a"], {"x": 1}, object(), torch.zeros(2),
    np.zeros((2, 2)), int,
]  # fmt: skip
GOOD = {"classes": ["a", "b", "c"], "mean": [0.5] * 3, "std": [0.5] * 3, "image_size": 32}


def network() -> Any:
    return ean_core.create_model("resnet20", num_classes=3, attention="se")


def create(**changes: Any) -> Any:
    return ean_core.create_model(**{"arch": "resnet20", "attention": "se", **changes})


CALLS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "create_model arch": (lambda value: create(arch=value), ()),
    **{
        f"create_model {name}": (lambda value, name=name: create(**{name: value}), right)
        for name, right in {
            "num_classes": (),
            "attention": (),
            "sharing": (),
            "scheme": (),
            "attention_options": (),
            "in_channels": (),
            "pretrained": (0,),
            "strides": (),
            "dilations": (),
            "conv_bias": (0,),
        }.items()
    },
    "load": (ean_core.load, ()),
    "Scheme.load": (Scheme.load, ()),
    "count_parameters": (ean_core.count_parameters, ()),
    "load_torchvision_weights": (lambda value: ean_core.load_torchvision_weights(value, {}), ()),
    "save network": (lambda value: ean_core.save(value, "y.pth", **GOOD), ()),
    "Scheme.parse": (lambda value: Scheme.parse(value, blocks=(3, 3, 3)), ()),
    "Scheme.parse blocks": (lambda value: Scheme.parse("111", blocks=value), ()),
    "Scheme": (lambda value: Scheme((1,), value), ()),
    "Scheme.all_on": (Scheme.all_on, ()),
    "Scheme.all_off": (Scheme.all_off, ()),
    "Scheme.random": (lambda value: Scheme.random((3,), value), ()),
}
"""Name -> a call with the argument, and the positions in `WRONG` of values that are right for it."""


@pytest.mark.parametrize("name", CALLS)
def test_an_argument_of_the_wrong_kind(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, right = CALLS[name]
    for position, value in enumerate(WRONG):
        if position not in right:
            with pytest.raises(EANError) as caught:
                call(value)
            assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, "d.pth", "x.txt", "", ".", "none\0.pth"])
def test_where_a_network_cannot_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.pth").mkdir()
    with pytest.raises(EANError):
        ean_core.save(network(), path, **GOOD)
    assert [file.name for file in tmp_path.iterdir()] == ["d.pth"]


@pytest.mark.parametrize("name", [*GOOD, "resize", "data"])
def test_what_cannot_be_saved_with_a_network(name: str, tmp_path: Path) -> None:
    net = network()
    for value in [-1, math.nan, "nope", b"x", [None], {"x": 1}, object(), torch.full((3,), math.nan)]:
        if name != "data" or not isinstance(value, str):
            with pytest.raises(EANError):
                ean_core.save(net, tmp_path / "y.pth", **{**GOOD, name: value})
    assert list(tmp_path.iterdir()) == []
