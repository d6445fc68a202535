"""Figure 1: accuracy against time increment, with areas that show the number of parameters."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ean_core.report.elements import Element, Picture, Section
from ean_core.report.results import Record, Results
from ean_core.report.table1 import KEYS, KINDS, SETUPS, network_title, paper_millions, paper_networks
from ean_core.report.titles import DATA
from ean_core.report.typed_rows import RunSettings, TrainedRow, trained_rows

MARKS = {"Org": "o", "Org-full": "^", "Share-full": "s", "EAN": "D"}
ATTENTIONS = ("se", "sge", "dia")


@dataclass(frozen=True)
class Point:
    """A network in the figure.

    Attributes:
        network, attention: such as "EAN" and "se"; "" for Org's attention.
        increment: of the time over Org's, in percent.
        accuracy: top-1 in percent.
        millions: of parameters; None where their number is not known.
        deviation: of the accuracy over seeds, in percentage points; None for a single figure.
    """

    network: str
    attention: str
    increment: float
    accuracy: float
    millions: float | None
    deviation: float | None = None


def section(results: Results) -> Section:
    """A panel for each half of the paper's table, and one for each run of ours, since their set-ups differ."""
    elements: list[Element] = []
    for column, data in (("cifar100_resnet164", "CIFAR-100"), ("imagenet_resnet50", "ImageNet")):
        points = paper_points(column, results.paper)
        elements.append(picture(points, f"Paper: {data}", f"{SETUPS[column]}; single figures without a spread."))
    elements += results.elements(KINDS, elements_of)
    return Section(
        "figure-1",
        "Figure 1: accuracy against time increment",
        elements,
        "Up and to the left is better; areas grow with the number of parameters. Panels are of different set-ups: "
        "compare points within a panel only.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The panel of a run; none without two networks whose time was measured."""
    del results
    run, rows = RunSettings.of(record), trained_rows(record)
    points = [run_point(row, run.attention) for row in rows if row.time_increment is not None]
    if len(points) < 2:
        return []
    n = max(row.top1.n or 1 for row in rows)
    bars = f"bars: standard deviation over {n} seeds" if n > 1 else "1 seed, so no deviation is known"
    note = (
        f"{run.arch}, {run.train:,} training and {run.test:,} test images, {run.epochs} epochs; {bars}; "
        f"{record.machine}."
    )
    return [picture(points, f"Ours: {DATA.get(run.data, run.data)}, {run.arch}", note, (record.name,))]


def paper_points(column: str, paper: Mapping[str, Any]) -> list[Point]:
    """The networks of one half of the paper's Table 1."""
    accuracy, times = paper["table1_accuracy_percent"][column], paper["table1_time_increment_percent"][column]
    points = []
    for network, attention in paper_networks(column, paper):
        key, millions = KEYS[network], paper_millions(network, attention, column, paper)
        if network == "Org":
            points.append(Point(network, "", 0.0, accuracy["org"], millions))
        else:
            points.append(Point(network, attention, times[attention][key], accuracy[attention][key], millions))
    return points


def run_point(row: TrainedRow, attention: str) -> Point:
    """The point of a network that was trained and timed with this attention."""
    assert row.time_increment is not None
    label = next((name for name in sorted(MARKS, key=len, reverse=True) if row.network.startswith(name)), "EAN")
    attention = "" if label == "Org" else attention
    return Point(
        label, attention, row.time_increment.value, row.top1.mean, row.parameters / 1e6, deviation=row.top1.std
    )


def picture(points: Sequence[Point], name: str, note: str, records: tuple[str, ...] = ()) -> Picture:
    """A panel, and what it shows as text."""
    figures = "; ".join(
        f"{network_title(point.network, point.attention)} {point.accuracy:.2f} % at {point.increment:.1f} % more time"
        f"{f' with {point.millions:.4g} million parameters' if point.millions else ''}"
        for point in points
    )
    return Picture(name, f"{name}: {figures}", partial(draw, points), note, records, wide=False)


def draw(points: Sequence[Point]) -> bytes:
    """A PNG of the points: a color for each attention, a mark for each network."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from ean_core.utils.drawing import render

    figure = Figure(figsize=(4.4, 3.9), dpi=190, layout="constrained")
    axes = figure.add_subplot()
    smallest = min((point.millions for point in points if point.millions), default=1.0)
    for point in points:
        axes.errorbar(
            point.increment, point.accuracy, yerr=point.deviation, ecolor="#999999", elinewidth=0.9, capsize=2
        )
        axes.scatter(
            point.increment,
            point.accuracy,
            s=60 * (point.millions or smallest) / smallest,
            marker=MARKS[point.network],
            color=color_of(point.attention),
            alpha=0.85,
            linewidths=0,
            zorder=3,
        )
    axes.margins(x=0.1, y=0.12)
    axes.grid(color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("time increment, %", fontsize=9)
    axes.set_ylabel("test top-1, %", fontsize=9)
    keys = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MARKS[network],
            color=color_of(attention),
            label=network_title(network, attention),
        )
        for network, attention in dict.fromkeys((point.network, point.attention) for point in points)
    ]
    longest = max(len(key.get_label()) for key in keys)
    ncols = 3 if longest <= 16 else 2 if longest <= 28 else 1  # what fits into the figure's width
    figure.legend(handles=keys, loc="outside lower center", ncols=ncols, fontsize=7.5, frameon=False, markerscale=0.9)
    stream = io.BytesIO()
    render(figure, stream, format="png")
    return stream.getvalue()


def color_of(attention: str) -> str:
    """Gray for no attention, else the attention's color."""
    from ean_core.report.plots import COLORS

    if not attention:
        return "#555555"
    return COLORS[ATTENTIONS.index(attention)] if attention in ATTENTIONS else COLORS[3]
