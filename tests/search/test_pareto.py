"""The front against the definition, and the command that lists it and takes a point."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ean_core import EANError, Scheme
from ean_core.pipeline.pareto_file import read_front, take_point
from ean_core.pipeline.pareto_front import write_front
from ean_core.report import plots_analysis
from ean_core.search.history import HistoryLine
from ean_core.search.pareto import Point, front_of, points_of
from tests.benchmark.test_latency_table import BLOCKS, COSTS, made_up
from tests.conftest import Run

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=25)


def dominates(one: Point, other: Point) -> bool:
    """Whether a point dominates another one, by the definition."""
    no_worse = one.cost <= other.cost and one.accuracy >= other.accuracy
    return no_worse and (one.cost < other.cost or one.accuracy > other.accuracy)


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_the_front_is_what_no_other_point_dominates(pairs: list[tuple[int, int]]) -> None:
    points = [Point(f"{index:05b}", float(accuracy), float(cost), 0) for index, (cost, accuracy) in enumerate(pairs)]
    front = front_of(points)
    expected = {point.bits for point in points if not any(dominates(other, point) for other in points)}
    assert {point.bits for point in front} == expected
    assert len(front) == len(expected)
    assert [point.cost for point in front] == sorted(point.cost for point in front)


def line(bits: str, accuracy: float) -> HistoryLine:
    return HistoryLine(1, bits, accuracy)


LINES = [
    line("000000000", 60.0),
    line("000000011", 64.0),
    line("000000010", 66.0),  # cheaper and better than the one before
    line("110000000", 65.0),
    line("111111111", 70.0),
    line("000000010", 66.0),  # proposed again
]


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A work directory as a search leaves it."""
    path = tmp_path / "w"
    best = Scheme.parse("111111111", blocks=BLOCKS)
    best.save(path / "scheme.json", arch="resnet20", attention="se", method="ean", seed=7, returned="best")
    (path / "history.jsonl").write_text("".join(line.to_json() + "\n" for line in LINES))
    return path


def test_costs_are_connections_the_searchs_times_or_a_tables() -> None:
    name, points = points_of(LINES, BLOCKS)
    assert name == "connections"
    assert [point.cost for point in points] == [0, 2, 1, 2, 9]
    name, points = points_of(LINES, BLOCKS, made_up())
    assert name == "increment"
    assert points[3].cost == pytest.approx(COSTS[:2].sum())
    name, points = points_of([replace(line, increment=3.5) for line in LINES], BLOCKS)
    assert (name, {point.cost for point in points}) == ("increment", {3.5})


def test_front_file_picture_and_point(work_dir: Path, tmp_path: Path) -> None:
    front = read_front(write_front(work_dir))
    assert [(point["number"], point["bits"]) for point in front["points"]] == [
        (1, "000000000"), (2, "000000010"), (3, "111111111"),
    ]  # fmt: skip
    assert front["scored"] == 5
    assert (work_dir / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    taken = take_point(front, 2, tmp_path / "s.json")
    assert taken == Scheme.load(tmp_path / "s.json", blocks=BLOCKS)
    content = json.loads((tmp_path / "s.json").read_text())
    assert (content["arch"], content["method"], content["seed"]) == ("resnet20", "ean", 7)
    assert (content["returned"], content["validation_accuracy"]) == ("point 2 of the Pareto front", 66.0)
    with pytest.raises(EANError, match="has no point 4: choose one from 1 to 3"):
        take_point(front, 4, tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()


def test_equal_points_of_the_front_share_a_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(plots_analysis, "save", lambda figure, path, note: figures.append(figure) or path)
    front = [(2.0, 60.0), (2.0, 60.0), (4.0, 65.0)]
    plots_analysis.draw_front(tmp_path / "f.png", front, front, axis="connections", note="")
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["1, 2", "3"]


def test_a_point_taken_as_the_directorys_scheme_can_be_followed_by_another(work_dir: Path, tmp_path: Path) -> None:
    front = read_front(write_front(work_dir, table=made_up()))
    take_point(front, 1, work_dir / "scheme.json")
    again = read_front(write_front(work_dir))
    assert take_point(again, 2, tmp_path / "s.json").text == "000000010"
    assert "predicted_increment" not in json.loads((tmp_path / "s.json").read_text())


def test_an_empty_history_has_no_front(work_dir: Path) -> None:
    (work_dir / "history.jsonl").write_text("")
    with pytest.raises(EANError, match=r"history.jsonl contains no scored schemes"):
        write_front(work_dir)
    assert not (work_dir / "pareto.json").exists()


def test_another_runs_history_has_no_front_here(work_dir: Path) -> None:
    (work_dir / "search").mkdir()
    (work_dir / "search/run.json").write_text('{"part": "search", "seed": 7}')
    write_front(work_dir)  # a history of an earlier version has no key
    lines = (dataclasses.replace(line, run="0" * 12).to_json() + "\n" for line in LINES)
    (work_dir / "history.jsonl").write_text("".join(lines))
    with pytest.raises(EANError, match=r"history.jsonl was written by a run with other settings"):
        write_front(work_dir)


def test_a_table_of_another_network_is_refused(work_dir: Path) -> None:
    with pytest.raises(EANError, match="attention 'sge', but this run is for 'se'"):
        write_front(work_dir, table=made_up(attention="sge"))
    with pytest.raises(EANError, match="sharing 'block', but this run is for 'stage'"):
        write_front(work_dir, table=made_up(sharing="block"))
    Scheme.all_on(BLOCKS).save(work_dir / "scheme.json")  # of no known network
    with pytest.raises(EANError, match="arch 'resnet20', but this run is for None"):
        write_front(work_dir, table=made_up())


def test_the_command(run_here: Run, work_dir: Path, tmp_path: Path) -> None:
    made_up().save(tmp_path / "table.json")
    done = run_here("tools/pareto.py", "w", "--latency", "table.json", "--take", 2, "--output", "s.json")
    assert "3 of 5 scored schemes" in done.stdout
    assert "predicted time increment" in done.stdout
    content = json.loads((tmp_path / "s.json").read_text())
    assert "".join(content["stages"]) == "000000010"
    assert content["predicted_increment"] == pytest.approx(COSTS[7])
    with pytest.raises(EANError, match="does not exist"):
        write_front(tmp_path / "none")
    (work_dir / "history.jsonl").unlink()
    assert "history.jsonl does not exist" in run_here("tools/pareto.py", "w", code=2).stderr
