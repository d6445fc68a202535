"""What the pictures of records say: axes, ticks and small print."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from landscape_study import draw
from landscape_suite import LANDSCAPES
from matplotlib.figure import Figure

from ean_core import Scheme
from ean_core.benchmark.latency_table import LatencyTable
from ean_core.io.records import read_record
from ean_core.pipeline.correlation.show import draw_correlations
from ean_core.pipeline.pareto_front import write_front
from ean_core.pipeline.task import Metric
from ean_core.report import figure1, plots_search
from ean_core.report.figure1 import LARGEST, SMALLEST, Point, areas_of
from ean_core.report.labels import ANSWER_LABELS
from ean_core.report.plots import bar_chart, draw_search
from ean_core.report.time_charts import draw_increments, draw_table
from ean_core.search.history import HistoryLine
from ean_core.utils.intervals import Interval
from tests.conftest import ROOT
from tests.helpers import report_records as made


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The pictures that were saved."""
    seen: list[Figure] = []
    original = Figure.savefig

    def reading(self: Figure, *arguments: object, **options: object) -> None:
        original(self, *arguments, **options)
        seen.append(self)

    monkeypatch.setattr(Figure, "savefig", reading)
    return seen


def ticks(axis: Any) -> list[str]:
    """The labels between an axis's ends."""
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_text() for place, label in labels if low <= place <= high]


def note_of(figure: Figure) -> str:
    """The note below a picture."""
    return figure.get_supxlabel()


def compared(path: Path, **settings: Any) -> dict[str, Any]:
    """The record of a comparison with these settings."""
    record = read_record(made.comparison(path / "compared.json"))
    record["settings"] |= settings
    return record


def test_the_best_so_far_is_drawn_as_steps_over_plain_numbers(tmp_path: Path, figures: list[Figure]) -> None:
    record = compared(tmp_path)
    record["metrics"]["highest"]["reward"] = 36.25
    curve = {"evaluations": [1, 8, 40, 120], "reward": [30.0, 34.0, 36.0, 36.25], "accuracy": [30.0] * 4}
    record["metrics"]["runs"] = [{**run, "curve": curve} for run in record["metrics"]["runs"]]
    plots_search.draw_comparison(tmp_path / "a.png", record)
    axes, second = figures[0].axes
    assert [panel.get_title(loc="left") for panel in (axes, second)] == ["EAN", "random"]
    assert [line.get_drawstyle() for line in axes.get_lines()] == ["steps-post"] * 2
    band = axes.collections[0].get_paths()[0].vertices
    assert all(a == c or b == d for (a, b), (c, d) in pairwise(band))  # no slanted side
    assert ticks(axes.xaxis) == ["1", "3", "10", "30", "100"]
    assert ticks(axes.yaxis) == ["0", "0.1", "0.3", "1", "3"]
    assert "; 400 validation images; " in note_of(figures[0])


def test_proposals_are_whole_numbers_and_no_curve_leaves_figure_5(tmp_path: Path, figures: list[Figure]) -> None:
    record = compared(tmp_path)
    record["metrics"]["runs"][0]["probability"] = {"proposals": [1, 2, 3, 4], "p_mean": [0.5, 0.25, 0.5, 0.75]}
    plots_search.draw_convergence(tmp_path / "a.png", record)
    (axes,) = figures[0].axes
    assert ticks(axes.xaxis) == ["1", "2", "3", "4"]
    assert axes.get_ylim()[0] < 0.25
    assert note_of(figures[0]).startswith("thick: mean of 3 search seeds, thin: each;")
    plots_search.draw_convergence(tmp_path / "a.png", compared(tmp_path, seeds=1))
    assert note_of(figures[1]).startswith("1 search seed;")


def test_table_4s_picture_tells_seeds_and_test_images(tmp_path: Path, figures: list[Figure]) -> None:
    record = read_record(made.retrained(tmp_path / "again.json"))
    plots_search.draw_retrained(tmp_path / "a.png", record)
    for row in record["metrics"]:
        row["top1"] = made.spread(40.0)
    plots_search.draw_retrained(tmp_path / "a.png", record)
    assert [note_of(figure).split(";")[0] for figure in figures] == [
        "accuracy: mean and standard deviation of 2 training seeds, 10,000 test images",
        "accuracy: 1 training seed, 10,000 test images",
    ]


def test_landscapes_of_one_size_are_wrapped_with_plain_numbers(tmp_path: Path, figures: list[Figure]) -> None:
    curve = [[2.0, 1.0, 3.0], [1.0, 0.5, 1.5]]
    rows = [
        {"bits": 9, "landscape": kind, "method": "random", "evaluations": [10, 1000], "best": curve}
        for kind in LANDSCAPES
    ]
    arguments = argparse.Namespace(methods=["random"], bits=[9], landscapes=list(LANDSCAPES), seeds=20)
    draw(rows, arguments, tmp_path / "a.png")
    panels = [axes for axes in figures[0].axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == [f"9 blocks, {kind}" for kind in LANDSCAPES]
    assert {axes.get_gridspec().get_geometry() for axes in panels} == {(2, 3)}
    assert [text.get_text() for text in figures[0].axes[5].get_legend().get_texts()] == [
        "random",
        ANSWER_LABELS["best"],
    ]
    assert ticks(panels[0].xaxis) == ["10", "30", "100", "300", "1,000"]
    assert ticks(panels[0].yaxis) == ["0", "0.1", "0.3", "1"]
    arguments.bits = [9, 16]
    draw(rows, arguments, tmp_path / "a.png")
    assert figures[1].axes[0].get_gridspec().get_geometry() == (2, 5)  # a row per size
    assert len(figures[1].legends) == 1


def test_the_scheme_comes_first_and_is_marked_where_it_was_scored(tmp_path: Path, figures: list[Figure]) -> None:
    lines = [HistoryLine(1, "000", 60.0, 60.0, p_mean=0.5), HistoryLine(2, "010", 61.0, 62.0, p_mean=0.5)]
    draw_search(tmp_path / "a.png", lines, Scheme.parse("010", blocks=(1, 2)))
    scheme, *curves = figures[0].axes
    assert scheme.get_title(loc="left").startswith("the scheme found: 1 of 3 blocks connected")
    stars = [line for axes in curves for line in axes.get_lines() if line.get_marker() == "*"]
    assert [star.get_xdata()[0] for star in stars] == [2] * 4
    assert stars[0].get_ydata()[0] == lines[1].reward


def test_the_line_has_a_point_for_each_step_also_where_a_step_draws_several_schemes(
    tmp_path: Path, figures: list[Figure]
) -> None:
    lines = [HistoryLine(step, "000", 10.0 * step + n, 60.0, p_mean=0.5) for step in range(1, 41) for n in (0, 1, 2)]
    draw_search(tmp_path / "a.png", lines, Scheme.parse("010", blocks=(1, 2)))
    accuracy = figures[0].axes[2]
    (line,) = [line for line in accuracy.get_lines() if line.get_linestyle() == "-"]
    assert list(line.get_xdata()) == list(range(1, 41))
    assert list(line.get_ydata())[:3] == [11.0, 16.0, 26.0]  # means of two steps, a twentieth of forty


def test_numbers_stand_at_their_bars_and_one_wide_interval_does_not_stretch_the_axis(
    tmp_path: Path, figures: list[Figure]
) -> None:
    bars = {"eager": {"a": Interval(4.7, 1.0, 136.9), "b": Interval(9.0, 8.0, 10.0), "c": Interval(-2.0, -3.0, -1.0)}}
    bar_chart(tmp_path / "a.png", bars, axis="%")
    (axes,) = figures[0].axes
    values = [text for text in axes.texts if hasattr(text, "xy")]
    assert {text.get_text(): text.xy[0] for text in values} == {"4.7": 0, "9.0": 0, "-2.0": 0}
    assert 18 <= axes.get_xlim()[1] < 20
    assert [text.get_text() for text in axes.texts if not hasattr(text, "xy")] == ["to 136.9"]


def test_figure_1_has_intervals_a_label_and_areas_that_differ(figures: list[Figure]) -> None:
    few, many = Point("Org", "", 0.0, 74.0, 1.727), Point("EAN", "se", 20.0, 76.0, 1.739, 0.5, (18.0, 25.0))
    figure1.draw([few, many])
    (axes,) = figures[0].axes
    assert [text.get_text() for text in axes.texts] == ["Org"]
    assert areas_of([few, many]) == [SMALLEST, LARGEST]
    assert areas_of([few, few]) == [SMALLEST] * 2
    across = [bar.get_segments()[0] for bar in axes.collections if hasattr(bar, "get_segments")]
    assert any([point[0] for point in segment] == [18.0, 25.0] for segment in across)
    legend = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert legend == ["Org", "EAN SE", "1.727 M parameters", "1.739 M parameters"]


def test_numbers_of_connections_are_whole(tmp_path: Path, figures: list[Figure]) -> None:
    Scheme.parse("010", blocks=(1, 2)).save(tmp_path / "scheme.json")
    write_front(tmp_path, lines=[HistoryLine(1, "000", 60.0), HistoryLine(2, "010", 61.0)])
    record = read_record(ROOT / "results/correlation_r20_cifar100_subset30k.json")
    record["metrics"]["schemes"] = [row for row in record["metrics"]["schemes"] if row["connections"] in (2, 3)]
    draw_correlations(tmp_path / "a.png", record, metric=Metric("top1", "accuracy", "%"))
    front, (*_, counts, scale) = figures[0].axes[0], figures[1].axes
    assert [ticks(axis) for axis in (front.xaxis, counts.xaxis, scale.yaxis)] == [["0", "1"], ["2", "3"], ["2", "3"]]
    assert note_of(figures[1]).startswith("ean_se_r20_cifar100_subset30k, 4 schemes, 2 seeds each;")


def test_charts_of_times_are_drawn_from_the_record_alone(tmp_path: Path, figures: list[Figure]) -> None:
    record = read_record(ROOT / "results/benchmark_counter_r29_cpu.json")
    draw_increments(tmp_path / "a.png", record["metrics"], record["settings"])
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Share-full SE", "EAN SE"]
    assert axes.get_xlabel() == "time increment, %, with 95 % intervals"
    note = "batch of 1, 512x512 pixels, CPU, 2 threads, 15 rounds, networks interleaved"
    assert note_of(figures[0]) == note
    assert draw_increments(tmp_path / "b.png", record["metrics"][:1], record["settings"]) is None


def test_times_of_connections_name_the_attention_and_the_set_up(tmp_path: Path, figures: list[Figure]) -> None:
    draw_table(tmp_path / "a.png", LatencyTable.load(ROOT / "results/latency_resnet20_cpu.json"))
    assert figures[0].get_suptitle() == "resnet20 with SE: what connecting one block adds"
    assert ", 1 thread, mode eager, 100 rounds, " in note_of(figures[0])
