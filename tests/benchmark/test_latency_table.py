"""The latency table, on a machine whose clock we turn ourselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ean_core import EANError, Scheme, create_model
from ean_core.benchmark.latency_table import (
    LatencyTable,
    check_schemes,
    check_table,
    device_name,
    measure_table,
    weigh,
    weighing_design,
)
from ean_core.deploy.modes import MODES, Mode
from ean_core.utils.intervals import Interval

BLOCKS = (3, 3, 3)
COSTS = np.array([0.5, 1.0, 0.25, 2.0, 0.75, 0.5, 1.5, 0.25, 3.0])  # percent of Org's time
BATCH = torch.zeros(2, 3, 8, 8)
NAMES = {"arch": "resnet20", "attention": "se", "options": {}, "sharing": "stage"}


class Machine:
    """A clock that every forward moves by Org's 10 ms and the connections' costs; `together` per pair of them."""

    def __init__(self, *, together: float = 0.0) -> None:
        self.now, self.together = 0.0, together

    def mode(self) -> Mode:
        def build(network: torch.nn.Module, batch: torch.Tensor) -> Callable[[torch.Tensor], None]:
            bits = np.array(network.scheme.bits)
            pairs = bits.sum() * (bits.sum() - 1) / 2
            seconds = 0.010 * (1 + (bits @ COSTS + self.together * pairs) / 100)

            def forward(batch: torch.Tensor) -> None:
                self.now += seconds

            return forward

        return Mode(build, 0.0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[LatencyTable, dict]]:
    """Measure and check a table on a made-up machine."""

    def make(**costs: float) -> LatencyTable:
        bench = Machine(**costs)
        monkeypatch.setitem(MODES, "made-up", bench.mode())
        network = create_model("resnet20", attention="se")
        network.set_scheme("101010101")
        how = {"clock": lambda: bench.now}
        table = measure_table(network, BATCH, mode="made-up", rounds=4, **how, **NAMES)
        table = check_table(table, network, BATCH, count=7, seed=1, **how)
        assert network.scheme.text == "101010101"  # put back
        return table

    return make


def test_each_block_costs_what_it_adds_and_sums_are_predicted(machine: Callable[..., LatencyTable]) -> None:
    table = machine()
    assert table.percent == pytest.approx(COSTS)
    assert table.org.value == pytest.approx(0.010)
    assert (table.blocks, table.batch_size, table.image_size, table.rounds) == (BLOCKS, 2, 8, 4)
    assert table.threads == torch.get_num_threads()
    assert table.device == device_name("cpu")
    rng = np.random.default_rng(0)
    for scheme in [Scheme.all_on(BLOCKS), Scheme.all_off(BLOCKS), *(Scheme.random(BLOCKS, rng) for _ in range(5))]:
        assert table.predicted(scheme) == pytest.approx(
            sum(c for c, bit in zip(COSTS, scheme.bits, strict=True) if bit)
        )
    assert len(table.check["schemes"]) == 7
    assert table.check["max"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("m", [3, 9, 16, 54])
def test_every_measurement_tells_of_every_connection(m: int) -> None:
    design = weighing_design(m)
    assert not design[0].any()
    assert len(design) & (len(design) - 1) == 0
    assert m < len(design) <= 2 * m + 1
    signs = 1 - 2 * design
    assert (signs.T @ signs == len(design) * np.eye(m)).all()  # no two connections can be mistaken for each other
    assert (design.sum(axis=0) == len(design) // 2).all()


def test_weighing_together_beats_one_connection_at_a_time() -> None:
    rng, m, rounds = np.random.default_rng(0), 31, 20
    costs = rng.uniform(0.2, 1.0, m)
    alone = np.vstack([np.zeros(m), np.eye(m)])
    design = weighing_design(m)
    assert len(design) == len(alone)  # the same number of measurements
    errors: dict[str, list[float]] = {"together": [], "alone": []}
    for _ in range(20):
        for name, bits in (("together", design), ("alone", alone)):
            seconds = (1 + bits @ costs / 100)[:, None] * (1 + 0.02 * rng.normal(size=(len(bits), rounds)))
            seconds = seconds * rng.uniform(1, 3, rounds)  # a load that comes and goes
            seconds[rng.random(seconds.shape) < 0.1] *= 2  # and turns that were disturbed
            increments = weigh(seconds, bits.astype(int), resamples=10)
            errors[name].append(sum(increment.value for increment in increments) - costs.sum())  # of the full network
    assert np.std(errors["together"]) < 0.25 * np.std(errors["alone"])
    assert abs(np.mean(errors["together"])) < 1.0


def test_what_the_sum_leaves_out_shows_in_the_check(machine: Callable[..., LatencyTable]) -> None:
    check = machine(together=0.1).check
    errors = []
    for row in check["schemes"]:
        k = row["connections"]
        measured = row["predicted"] - row["error"]
        costs = np.dot([int(bit) for bit in row["bits"]], COSTS)
        assert measured == pytest.approx(row["measured"]["value"])
        assert measured == pytest.approx(costs + 0.1 * k * (k - 1) / 2)
        errors.append(abs(row["error"]))
    assert check["max"] == pytest.approx(max(errors))
    assert check["max"] > 0.4
    assert check["within"] == 0  # this machine's intervals have no width
    assert check["mean_absolute"] == pytest.approx(np.mean(errors))


def test_checked_schemes_are_the_full_one_and_different_ones_of_many_sizes() -> None:
    schemes = check_schemes((18, 18, 18), 6, seed=0)
    assert schemes[0].connections == 54
    counts = [scheme.connections for scheme in schemes[1:]]
    assert counts == sorted(counts)
    assert counts[0] < 14
    assert counts[-1] > 40
    assert len({scheme.text for scheme in check_schemes((1, 1), 6, seed=0)}) == len(check_schemes((1, 1), 6, seed=0))


def test_real_networks_are_timed_with_their_own_connections() -> None:
    network = create_model("resnet20", attention="se").eval()
    table = check_table(measure_table(network, BATCH, mode="folded", rounds=1, **NAMES), network, BATCH, count=2)
    assert len(table.increments) == 9
    assert all(increment.low <= increment.value <= increment.high for increment in table.increments)
    assert [row["connections"] for row in table.check["schemes"]] == [9, 5]
    assert table.org.value > 0


def test_a_table_that_is_mostly_noise_says_so() -> None:
    assert made_up().noise_warning is None
    wide = made_up(increments=tuple(Interval(c, c - 4, c + 2) for c in COSTS.tolist()))
    assert "uncertain by about 3.00 points and are 1.08 on average" in wide.noise_warning


def test_a_table_from_elsewhere_says_what_was_measured_where() -> None:
    table = made_up(device="a CPU", threads=4)
    assert table.device_warning("a CPU", 4) is None
    assert table.device_warning("a CPU", None) is None
    assert table.device_warning("a CPU", 1).startswith(
        "measured on a CPU with 4 threads, and this is a CPU with 1 thread"
    )
    assert "4 threads, and this is a GPU: " in table.device_warning("a GPU", None)


@pytest.mark.gpu
@pytest.mark.timing
def test_a_table_of_a_gpu_names_it_and_predicts_whole_networks() -> None:
    network = create_model("resnet164", attention="se").eval().cuda()
    batch = torch.zeros(16, 3, 32, 32, device="cuda")
    names = {**NAMES, "arch": "resnet164"}
    table = check_table(measure_table(network, batch, mode="eager", rounds=5, **names), network, batch)
    assert table.device == torch.cuda.get_device_name()
    full = table.check["schemes"][0]
    assert full["connections"] == 54
    assert full["measured"]["value"] > 5  # on a GPU small launches count
    assert full["predicted"] == pytest.approx(full["measured"]["value"], rel=0.5)


def made_up(**changes: object) -> LatencyTable:
    """A table with the increments `COSTS`, without measuring; `changes` replace fields."""
    values = {
        **NAMES,
        "blocks": BLOCKS,
        "batch_size": 50,
        "image_size": 32,
        "device": device_name("cpu"),
        "setting": "eager",
        "threads": 1,
        "rounds": 4,
        "org": Interval(0.01, 0.009, 0.011),
        "increments": tuple(Interval(c, c - 0.1, c + 0.1) for c in COSTS.tolist()),
        "check": {"schemes": [], "mean_absolute": 0.0, "max": 0.0},
    }
    return LatencyTable(**{**values, **changes})


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = made_up(options={"reduction": 8})
    table.save(tmp_path / "table.json")
    assert LatencyTable.load(tmp_path / "table.json") == table
    content = json.loads((tmp_path / "table.json").read_text())
    assert content["format"] == "ean-latency-1"
    assert "versions" in content["environment"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": "ean-latency-1"}', '{"format": "ean-record-1"}', "no increments", "a word"],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "table.json"
    made_up().save(path)
    whole = json.loads(path.read_text())
    if content == "no increments":
        content = json.dumps({**whole, "increments": whole["increments"][:-1]})
    if content == "a word":
        content = json.dumps({**whole, "increments": [{"value": "x", "low": 0, "high": 0}] * 9})
    path.write_text(content)
    with pytest.raises(EANError, match="tools/benchmark.py --per-block"):
        LatencyTable.load(path)
    with pytest.raises(EANError, match="does not exist"):
        LatencyTable.load(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["arch", "attention", "options", "sharing", "blocks", "batch_size", "device"])
def test_a_table_of_something_else_is_refused_naming_both(name: str) -> None:
    table = made_up()
    other = {"options": {"reduction": 4}, "blocks": (4, 4, 4), "batch_size": 1}.get(name, "another")
    wanted = {name: getattr(table, name) for name in (*NAMES, "blocks", "batch_size", "image_size", "device")}
    table.require("t.json", **wanted)
    sentence = (
        f"t.json was measured for {name.replace('_', ' ')} {getattr(table, name)!r}, but this run is for {other!r}"
    )
    with pytest.raises(EANError, match=re.escape(sentence)):
        table.require("t.json", **{**wanted, name: other})
