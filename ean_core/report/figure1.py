"""Figure 1: accuracy against time increment, with areas that tell the numbers of parameters apart."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ean_core.report.elements import Element, Picture, Section
from ean_core.report.results import Record, Results
from ean_core.report.table1 import KEYS, KINDS, SETUPS, network_title, paper_millions, paper_networks
from ean_core.report.titles import DATA, arch_title
from ean_core.report.typed_rows import RunSettings, TrainedRow, trained_rows
from ean_core.utils.text import how_many

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
        interval: of the time increment, low and high in percent; None where it is not known.
    """

    network: str
    attention: str
    increment: float
    accuracy: float
    millions: float | None
    deviation: float | None = None
    interval: tuple[float, float] | None = None


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
        "Up and to the left is better. In each panel the smallest area stands for the fewest parameters and the "
        "largest for the most. Panels are of different set-ups: compare points within a panel only.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The panel of a run; none without two networks whose time was measured."""
    del results
    run, rows = RunSettings.of(record), trained_rows(record)
    points = [run_point(row, run.attention) for row in rows if row.time_increment is not None]
    if len(points) < 2:
        return []
    n = max(row.top1.n or 1 for row in rows)
    up = f"standard deviation over {n} seeds" if n > 1 else "none, as there is 1 seed"
    bars = f"bars across: 95 % interval of the time; bars up: {up}"
    note = (
        f"{run.arch}, {run.train:,} training and {run.test:,} test images, {how_many(run.epochs, 'epoch')}; {bars}; "
        f"{record.machine}."
    )
    return [picture(points, f"Ours: {DATA.get(run.data, run.data)}, {arch_title(run.arch)}", note, (record.name,))]


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
    time = row.time_increment
    return Point(
        label,
        attention,
        time.value,
        row.top1.mean,
        row.parameters / 1e6,
        deviation=row.top1.std,
        interval=None if label == "Org" else (time.low, time.high),
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

    figure = Figure(figsize=(4.6, 4.3), dpi=190, layout="constrained")
    axes = figure.add_subplot()
    areas = areas_of(points)
    for point, area in sorted(zip(points, areas, strict=True), key=lambda each: -each[1]):  # small ones on top
        low, high = point.interval or (point.increment, point.increment)
        sides = [[max(0.0, point.increment - low)], [max(0.0, high - point.increment)]]
        bars = {"ecolor": "#888888", "elinewidth": 0.9, "capsize": 2, "fmt": "none", "zorder": 2}
        axes.errorbar(point.increment, point.accuracy, xerr=sides, yerr=point.deviation, **bars)
        style = {"marker": MARKS[point.network], "color": color_of(point.attention), "edgecolors": "white"}
        axes.scatter(point.increment, point.accuracy, s=area, alpha=0.85, linewidths=0.7, zorder=3, **style)
        if point.network == "Org":
            axes.annotate(
                "Org", (point.increment, point.accuracy), xytext=(8, -3), textcoords="offset points", fontsize=8
            )
    axes.margins(x=0.1, y=0.12)
    axes.grid(color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("time increment, %", fontsize=9)
    axes.set_ylabel("test top-1, %", fontsize=9)
    keys = [
        Line2D([], [], linestyle="", marker=MARKS[network], color=color_of(attention), label=name)
        for (network, attention), name in {
            (point.network, point.attention): network_title(point.network, point.attention) for point in points
        }.items()
    ]
    sizes = sorted({(area, point.millions) for area, point in zip(areas, points, strict=True) if point.millions})
    for area, millions in dict.fromkeys((sizes[0], sizes[-1]) if len(sizes) > 1 else ()):
        style = {"color": "#BBBBBB", "markersize": area**0.5, "label": f"{millions:.4g} M parameters"}
        keys.append(Line2D([], [], linestyle="", marker="o", **style))
    longest = max(len(key.get_label()) for key in keys)
    ncols = 3 if longest <= 20 else 2 if longest <= 28 else 1  # what fits into the figure's width
    figure.legend(handles=keys, loc="outside lower center", ncols=ncols, fontsize=7.5, frameon=False)
    stream = io.BytesIO()
    render(figure, stream, format="png")
    return stream.getvalue()


SMALLEST, LARGEST = 35.0, 220.0
"""Areas of the marks with the fewest and the most parameters, in square points."""


def areas_of(points: Sequence[Point]) -> list[float]:
    """An area for each point, straight from the fewest to the most parameters of the panel.

    Areas in proportion to the parameters could not be told apart: those of the paper's networks differ by a tenth.
    """
    known = [point.millions for point in points if point.millions]
    least, span = min(known, default=0.0), max(known, default=0.0) - min(known, default=0.0)
    return [
        SMALLEST + (LARGEST - SMALLEST) * ((point.millions or least) - least) / span if span else SMALLEST
        for point in points
    ]


def color_of(attention: str) -> str:
    """Gray for no attention, else the attention's color."""
    from ean_core.report.plots import COLORS

    if not attention:
        return "#555555"
    return COLORS[ATTENTIONS.index(attention)] if attention in ATTENTIONS else COLORS[3]
