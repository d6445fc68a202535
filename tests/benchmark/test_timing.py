"""Eq. 9 with a clock that we turn ourselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ean_core import EANError, create_model
from ean_core.benchmark.timing import (
    Timing,
    compare,
    device_clock,
    forwards_per_turn,
    increment,
    measure,
    median_interval,
    multiply_adds,
    round_order,
)
from ean_core.utils.intervals import bootstrap


@pytest.fixture(autouse=True)
def _whole_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns last as long as in a real measurement: most clocks here are made up."""
    monkeypatch.setattr("ean_core.benchmark.timing.TURN_SECONDS", 0.02)


class Bench:
    """A clock, and networks that move it by a known number of seconds per forward, times a load on the machine."""

    def __init__(self, load=lambda now: 1.0) -> None:
        self.now, self.load, self.log = 0.0, load, []

    def clock(self) -> float:
        return self.now

    def network(self, name: str, seconds: float):
        def forward(batch: object) -> None:
            self.log.append(name)
            self.now += seconds * self.load(self.now)

        return forward


def test_the_median_is_seconds_per_forward_whatever_inner_is() -> None:
    bench = Bench()
    networks = {"slow": bench.network("slow", 0.03), "fast": bench.network("fast", 0.01)}
    timings = measure(networks, None, rounds=5, inner=4, clock=bench.clock)
    assert timings["slow"].median == pytest.approx(0.03)
    assert timings["fast"].median == pytest.approx(0.01)
    assert timings["slow"].inner == 4
    assert len(timings["slow"].seconds) == 5


def test_increment_is_equation_9() -> None:
    bench = Bench()
    networks = {"Org": bench.network("Org", 0.020), "EAN": bench.network("EAN", 0.023)}
    compared = compare(networks, None, reference="Org", rounds=7, clock=bench.clock)
    assert compared["Org"].increment is None
    assert compared["EAN"].increment.value == pytest.approx(0.15)
    assert compared["EAN"].median.value == pytest.approx(0.023)


def test_the_interval_holds_the_value_and_narrows_with_more_rounds() -> None:
    rng = np.random.default_rng(0)

    def interval(rounds: int):
        org = 1 + 0.05 * rng.random(rounds)
        return increment(Timing("EAN", tuple(1.1 * org + 0.02 * rng.random(rounds))), Timing("Org", tuple(org)))

    few, many = interval(8), interval(400)
    for timing in (few, many):
        assert timing.low < timing.value < timing.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert many.low < 0.11 < many.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    intervals = [bootstrap(np.median, rng.normal(3.0, 1.0, 40), resamples=300) for _ in range(200)]
    covered = np.mean([interval.low <= 3.0 <= interval.high for interval in intervals])
    assert 0.89 <= covered <= 0.99


def test_the_bootstrap_is_seeded() -> None:
    timing = Timing("EAN", tuple(np.random.default_rng(0).random(30).tolist()))
    assert median_interval(timing, seed=3) == median_interval(timing, seed=3)
    assert median_interval(timing, seed=3) != median_interval(timing, seed=4)


def test_increments_are_paired_by_round() -> None:
    """A load that multiplies a round's times by up to ten leaves the increment exact, and not the medians."""
    load = np.random.default_rng(0).uniform(1, 10, 25)
    org, ean = Timing("Org", tuple(load)), Timing("EAN", tuple(1.08 * load))
    result = increment(ean, org)
    assert (result.value, result.low, result.high) == pytest.approx((0.08, 0.08, 0.08))
    assert median_interval(org).high > 1.2 * median_interval(org).low


def test_drift_cancels_because_the_networks_take_turns() -> None:
    """The machine becomes six times slower during the run: one after the other, the second network would pay for it."""
    bench = Bench(load=lambda now: 1 + now)
    networks = {name: bench.network(name, 0.002) for name in ("Org", "A", "B", "C")}
    compared = compare(networks, None, reference="Org", rounds=40, clock=bench.clock)
    first, last = compared["Org"].timing.seconds[0], compared["Org"].timing.seconds[-1]
    assert last > 2 * first
    for name in "ABC":
        assert compared[name].increment.value == pytest.approx(0, abs=0.002)


@pytest.mark.parametrize("names", [("A", "B"), ("A", "B", "C"), ("A", "B", "C", "D", "E")])
def test_every_network_takes_every_place_and_every_pair_both_orders(names: tuple[str, ...]) -> None:
    orders = [round_order(names, number) for number in range(2 * len(names))]
    assert all(sorted(order) == sorted(names) for order in orders)
    for place in range(len(names)):
        assert sorted(order[place] for order in orders) == sorted(names * 2)
    for name in names:
        for other in set(names) - {name}:
            assert sum(order.index(name) < order.index(other) for order in orders) == len(names)


def test_networks_are_interleaved_after_the_warm_up() -> None:
    bench = Bench()
    networks = {name: bench.network(name, 1.0) for name in "AB"}
    measure(networks, None, rounds=4, warmup=2, inner=1, clock=bench.clock)
    assert "".join(bench.log) == "AABB" + "AB" + "BA" + "BA" + "AB"


def test_warm_up_is_not_measured() -> None:
    bench = Bench(load=lambda now: 100.0 if now < 3 else 1.0)  # three slow calls: compiling, allocating, caches
    timings = measure({"A": bench.network("A", 0.01)}, None, rounds=3, warmup=3, inner=1, clock=bench.clock)
    assert timings["A"].seconds == pytest.approx((0.01,) * 3)


def test_a_turn_lasts_long_enough_for_the_clock() -> None:
    bench = Bench()
    networks = {"slow": bench.network("slow", 0.005), "fast": bench.network("fast", 0.003)}
    timings = measure(networks, None, rounds=2, clock=bench.clock)
    assert {timing.inner for timing in timings.values()} == {7}  # 7 * 3 ms >= 20 ms
    assert forwards_per_turn([0.5]) == 1
    assert forwards_per_turn([0.0]) == 1000


class Spy(nn.Module):
    """Notes the modes that it is called in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.frozen = nn.Dropout().eval()
        self.seen: set[tuple[bool, bool, bool]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.add((self.training, self.norm.training, torch.is_inference_mode_enabled()))
        return self.norm(x)


def test_a_network_is_timed_in_eval_and_inference_mode_and_gets_its_modes_back() -> None:
    spy = Spy()
    mean = spy.norm.running_mean.clone()
    measure({"spy": spy}, torch.randn(4, 3, 2, 2), rounds=1, inner=1)
    assert spy.seen == {(False, False, True)}
    assert (spy.training, spy.norm.training, spy.frozen.training) == (True, True, False)
    assert torch.equal(spy.norm.running_mean, mean)
    assert not torch.is_inference_mode_enabled()


def test_modes_come_back_after_an_exception() -> None:
    class Failing(Spy):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no")

    spy = Failing()
    with pytest.raises(RuntimeError, match="no"):
        measure({"spy": spy}, None, rounds=1)
    assert spy.norm.training


def test_real_time() -> None:
    timings = measure({"A": lambda batch: batch.exp()}, torch.zeros(10), rounds=2, warmup=0)
    assert all(0 < second < 1 for second in timings["A"].seconds)
    assert timings["A"].inner > 1


@pytest.mark.gpu
@pytest.mark.timing
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_clock_waits_for_the_device() -> None:
    matrix = torch.randn(4096, 4096, device="cuda")
    clock = device_clock(matrix.device)
    matrix @ matrix
    start = clock()
    done = torch.cuda.Event()
    for _ in range(20):
        matrix @ matrix
    done.record()
    assert clock() > start
    assert done.query()


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"inner": 0}, {"warmup": -1}, {"networks": {}}])
def test_nothing_to_measure(wrong: dict) -> None:
    with pytest.raises(EANError, match="at least one round"):
        measure(**{"networks": {"A": lambda batch: None}, "batch": None, **wrong})


def test_increments_need_the_same_rounds() -> None:
    with pytest.raises(EANError, match="EAN has 2 rounds and Org 1"):
        increment(Timing("EAN", (1.0, 1.0)), Timing("Org", (1.0,)))
    with pytest.raises(EANError, match="zero duration"):
        increment(Timing("EAN", (1.0,)), Timing("Org", (0.0,)))


def test_multiply_adds_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 5)
    ).train()
    assert multiply_adds(network, (3, 6, 6)) == 3 * 8 * 9 * 36 + 8 * 36 * 5
    assert network[1].training
    assert network[1].num_batches_tracked == 0


def test_multiply_adds_of_the_known_resnet50() -> None:
    """4.09 G for one image of 224 pixels, the figure of the literature (torchvision documents 4.09)."""
    with torch.device("meta"):
        network = create_model("resnet50")
    assert multiply_adds(network, (3, 224, 224)) / 1e9 == pytest.approx(4.09, abs=0.01)
