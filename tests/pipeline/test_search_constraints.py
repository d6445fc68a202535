"""Time as an objective of a real search: table, reward term, limit, and the front that is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ean_core import EANError, Scheme
from ean_core.benchmark.latency_table import device_name
from ean_core.pipeline.comparison.compare import Comparison
from ean_core.pipeline.job import Job
from ean_core.pipeline.pareto_file import read_front
from ean_core.pipeline.pipeline import run_comparison, run_pipeline
from ean_core.pipeline.search import search_scheme
from ean_core.pipeline.search_constraints import latency_table
from ean_core.pipeline.supernet import train_supernet
from ean_core.search import METHODS
from ean_core.search.comparison import Budget
from ean_core.search.history import read_lines
from ean_core.search.method_choice import parse_methods
from ean_core.utils.intervals import Interval
from tests.benchmark.test_latency_table import COSTS, made_up
from tests.pipeline.conftest import MakeJob

LIMIT = 4.0
FAST = {"supernet.epochs": 1, "supernet.val_interval": 0, "search.steps": 6}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table for the tiny recipe's 8x8 digits."""
    made_up(image_size=8).save(tmp_path / "table.json")
    return tmp_path / "table.json"


def test_a_search_within_a_limit_and_its_front(
    job: MakeJob, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    options = {**FAST, "search.latency": str(table), "search.max_increment": LIMIT, "search.reward": {"latency": 0.5}}
    run = job("w", **options)
    run_pipeline(run, retrain=False)
    told = capsys.readouterr().out
    assert "of the 192 schemes that are predicted to be at most 4 % slower than Org were scored; " in told
    assert "pareto.json" in told
    lines = read_lines(tmp_path / "w/history.jsonl")
    for line in lines:
        assert line.increment <= LIMIT
        assert line.terms["latency"] == pytest.approx(-0.5 * line.increment)
        assert line.increment == pytest.approx(sum(c for c, b in zip(COSTS, line.bits, strict=True) if b == "1"))
    record = json.loads((tmp_path / "w/scheme.json").read_text())
    assert record["max_increment"] == LIMIT
    assert record["best"]["predicted_increment"] <= LIMIT
    front = read_front(tmp_path / "w/pareto.json")
    assert front["cost"] == "increment"
    assert front["scored"] == len({line.bits for line in lines})
    best = max(line.accuracy for line in lines)
    assert max(point["accuracy"] for point in front["points"]) == best
    assert (tmp_path / "w/pareto.png").read_bytes()[:4] == b"\x89PNG"

    moved = tmp_path / "moved.json"
    table.rename(moved)  # the same table from elsewhere goes on; another limit is another search
    again = job("w", resume=True, **{**options, "search.latency": str(moved)})
    search_scheme(again, tmp_path / "w/supernet.pth")
    assert read_lines(tmp_path / "w/history.jsonl") == lines
    with pytest.raises(EANError, match=r"max_increment = 4.0, and this run has 5"):
        other = {"search.latency": str(moved), "search.max_increment": 5}
        search_scheme(job("w", resume=True, **{**options, **other}), tmp_path / "w/supernet.pth")


def test_every_method_of_the_registry_keeps_the_limit(
    job: MakeJob, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ean_core.report.plots.draw_search", lambda *_, **__: None)
    monkeypatch.setattr("ean_core.pipeline.search.write_front", lambda *_, **__: None)
    supernet = train_supernet(job("supernet", **FAST))
    for method in METHODS:
        few = {"population": 4} if method == "genetic" else {}
        options = {"search.latency": str(table), "search.max_increment": LIMIT}
        options["search.options"] = {"_delete_": True, **few}
        run = job(method, **{**FAST, **options, "search.method": method, "search.steps": 2})
        scheme = Scheme.load(search_scheme(run, supernet))
        lines = read_lines(tmp_path / method / "history.jsonl")
        assert all(line.increment <= LIMIT for line in lines), method
        assert made_up().predicted(scheme) <= LIMIT


def test_without_a_table_the_front_is_over_connections(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ean_core.report.plots.draw_search", lambda *_, **__: None)
    run_pipeline(job("w", **FAST), retrain=False)
    assert read_front(tmp_path / "w/pareto.json")["cost"] == "connections"
    assert read_lines(tmp_path / "w/history.jsonl")[0].increment is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"device": "another device"}, f"device 'another device', but this run is for {device_name('cpu')!r}"),
        ({"arch": "resnet56", "blocks": (9, 9, 9), "increments": made_up().increments * 3}, "arch 'resnet56'"),
        ({"attention": "sge"}, "attention 'sge', but this run is for 'se'"),
        ({"batch_size": 1}, "batch size 1, but this run is for 50"),
        ({"image_size": 32}, "image size 32, but this run is for 8"),
    ],
)
def test_a_table_of_something_else_stops_the_run_before_any_training(
    job: MakeJob, tmp_path: Path, change: dict, sentence: str
) -> None:
    made_up(**{"image_size": 8, **change}).save(tmp_path / "table.json")
    with pytest.raises(EANError) as told:
        run_pipeline(job("w", **{"search.latency": str(tmp_path / "table.json")}))
    assert sentence in str(told.value)
    assert not (tmp_path / "w").exists()


def test_a_table_for_another_device_and_batch_is_taken_if_it_is_asked_for(job: MakeJob, tmp_path: Path) -> None:
    made_up(image_size=8, device="a phone", batch_size=1).save(tmp_path / "table.json")
    options = {"search.latency": str(tmp_path / "table.json"), "search.latency_batch": 1}
    with pytest.raises(EANError, match="device 'a phone'"):
        latency_table(job("w", **options))
    assert latency_table(job("w", **options, **{"search.latency_device": "a phone"})).device == "a phone"


class Stopped(Exception):
    """Raised in place of training, which the test does not need."""


def stop(job: Job, **_: Any) -> Path:
    raise Stopped


NOISY = {"increments": tuple(Interval(c, c - 4, c + 4) for c in COSTS.tolist())}


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize(
    ("change", "device", "sentence"),
    [
        ({}, None, None),
        (NOISY, None, "table.json: the increments are uncertain by about 4.00 points"),
        ({"threads": 3}, None, f"table.json: measured on {device_name('cpu')} with 3 threads, and this is "),
        ({"device": "a phone"}, "a phone", "table.json: measured on a phone with 1 thread, and this is "),
    ],
)
def test_a_doubtful_table_is_taken_with_a_warning_before_any_training(
    job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    compared: bool,
    change: dict,
    device: str | None,
    sentence: str | None,
) -> None:
    made_up(**{"image_size": 8, **change}).save(tmp_path / "table.json")
    run = job("w", **{"search.latency": str(tmp_path / "table.json"), "search.latency_device": device})
    monkeypatch.setattr("ean_core.pipeline.pipeline.train_supernet", stop)
    with pytest.raises(Stopped):
        if compared:
            run_comparison(run, Comparison(parse_methods(["random"]), 1, Budget(evaluations=2, proposals=2)))
        else:
            run_pipeline(run)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == int(sentence is not None)
    assert (sentence or "") in "".join(warnings)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"search.max_increment": 0.1}, "only the scheme without connections .* at least 0.25"),
        ({"search.max_increment": -1}, "max_increment must be at least 0 and at most 1,000,000,000, got -1"),
        ({"search.max_increment": 0.4, "search.method": "tail-k", "search.options": {"_delete_": True}}, "of TailK"),
        (
            {"search.latency": None, "search.max_increment": 5},
            "given without a latency table: .* search.latency=FILE",
        ),
        ({"search.latency": None, "search.reward": {"latency": 1.0}}, "search.reward.latency is given"),
        ({"search.latency": "none.json"}, "latency table none.json does not exist"),
    ],
)
def test_impossible_limits_and_missing_tables_are_refused_before_any_training(
    job: MakeJob, table: Path, tmp_path: Path, options: dict, sentence: str
) -> None:
    with pytest.raises(EANError, match=sentence):
        run_pipeline(job("w", **{"search.latency": str(table), **options}))
    assert not (tmp_path / "w").exists()
