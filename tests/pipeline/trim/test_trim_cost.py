"""Costs of calls on a made-up clock, and networks without some calls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ean_core import EANError
from ean_core.attention import SqueezeExcitation
from ean_core.deploy.mean_mask import drop_calls, find_calls
from ean_core.networks import ResNet
from ean_core.pipeline.trim.cost import CallCost, Costs, call_costs, compare_times, example_batch, ready, without
from ean_core.pipeline.trim.greedy import Limits
from ean_core.pipeline.trim.run import TrimSettings, measured_costs
from ean_core.utils.intervals import Interval
from tests.helpers.tiny_networks import images, trained


def test_a_network_without_some_calls_shares_the_weights_and_computes_the_same() -> None:
    network = trained("resnet20", "se", scheme="101 | 000 | 011")
    less = without(network, ["layer1.0", "layer1.2"])
    assert [call.name for call in find_calls(less)] == ["layer3.1", "layer3.2"]
    assert less.stages[0].attention is None
    assert less.conv1.weight is network.conv1.weight
    x = images(network, size=8)
    with torch.inference_mode():
        assert torch.equal(less(x), drop_calls(network, ["layer1.0", "layer1.2"])(x))
    assert len(find_calls(network)) == 4


@torch.no_grad()
def test_a_supernet_with_mean_masks_keeps_its_weights() -> None:
    """They are folded into the copy's norms."""
    network = trained("resnet20", "se")
    network.keep_mean_masks()
    for stage in network.stages:
        stage.mean_masks.masks.uniform_(0.2, 0.9)
    network.set_scheme("110 | 000 | 011")
    before = {name: value.clone() for name, value in network.eval().state_dict().items()}
    without(network, ["layer1.0"])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Clock:
    """Seconds that pass only where a network's attention runs: 20 ms a forward, and 20 ms for a call of stage 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0

        def mask_of(module: SqueezeExcitation, means: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
            self.now += 0.02 if means.shape[1] == 16 else 0.0
            return torch.ones_like(means), state

        monkeypatch.setattr(SqueezeExcitation, "mask_of", mask_of)
        stem = ResNet.forward_stem

        def forward_stem(network: ResNet, x: torch.Tensor) -> torch.Tensor:
            self.now += 0.02
            return stem(network, x)

        monkeypatch.setattr(ResNet, "forward_stem", forward_stem)

    def __call__(self) -> float:
        return self.now


def test_each_call_costs_what_the_clock_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = trained("resnet20", "se", scheme="100 | 000 | 001")
    clock = Clock(monkeypatch)
    costs = call_costs(network, images(network, size=8), mode="eager", rounds=2, clock=clock)
    assert costs.bare == pytest.approx(20.0)
    assert costs.calls["layer1.0"].milliseconds.value == pytest.approx(20.0)
    assert costs.calls["layer1.0"].share.value == pytest.approx(50.0)
    assert costs.calls["layer3.2"].milliseconds.value == pytest.approx(0.0, abs=1e-9)
    assert costs.increment(["layer1.0", "layer3.2"]) == pytest.approx(100.0)
    costs.save(tmp_path / "costs.json")
    assert Costs.load(tmp_path / "costs.json") == costs
    bare = drop_calls(network, ["layer1.0", "layer3.2"])
    networks = {"all": network, "none": bare}
    times = compare_times(networks, images(network, size=8), mode="eager", rounds=2, clock=clock)
    assert times["all"]["saved"] is None
    assert times["none"]["saved"]["value"] == pytest.approx(50.0)
    assert times["none"]["saved"]["low"] <= times["none"]["saved"]["high"]


def test_costs_are_measured_again_on_another_device_or_of_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = trained("resnet20", "se", scheme="100 | 000 | 001")
    settings, batch, asked = TrimSettings(Limits()), images(network, size=8), []

    def costs_of(network: nn.Module, *_: object, **__: object) -> Costs:
        asked.append(1)
        cost = CallCost(Interval(1.0, 1.0, 1.0), Interval(1.0, 1.0, 1.0))
        return Costs(10.0, {call.name: cost for call in find_calls(network)})

    monkeypatch.setattr("ean_core.pipeline.trim.run.call_costs", costs_of)
    for identity, device, count in (({}, "one", 1), ({}, "one", 1), ({}, "other", 2), ({"seed": 1}, "other", 3)):
        monkeypatch.setattr("ean_core.pipeline.trim.run.device_name", lambda _, name=device: name)
        costs = measured_costs(network, batch, settings, tmp_path / "costs.json", identity)
        assert (list(costs.calls), len(asked)) == (["layer1.0", "layer3.2"], count)


def test_small_images_are_timed_by_fifty_and_large_ones_alone() -> None:
    cpu = torch.device("cpu")
    assert example_batch((3, 32, 32), batch_size=None, device=cpu).shape == (50, 3, 32, 32)
    assert example_batch((3, 224, 224), batch_size=None, device=cpu).shape == (1, 3, 224, 224)
    assert example_batch((3, 224, 224), batch_size=2, device=cpu).shape == (2, 3, 224, 224)


def test_a_mode_that_folds_is_for_networks_with_stages() -> None:
    with pytest.raises(EANError, match="give --mode eager"):
        ready(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8), "folded")
