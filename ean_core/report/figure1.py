"""Figure 1: accuracy against time increment, with areas that show the number of parameters."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ean_core.report.blocks import Block, Picture, Section
from ean_core.report.book import Book, Entry
from ean_core.report.table1 import KEYS, KINDS, NAMES, SETUPS, paper_millions, paper_rows, title

MARKS = {"Org": "o", "Org-full": "^", "Share-full": "s", "EAN": "D"}
ATTENTIONS = ("se", "sge", "dia")


@dataclass(frozen=True)
class Point:
    """A network.

    Attributes:
        network, attention: "EAN", "se".
        increment: of the time, in percent.
        accuracy: top-1 in percent; `deviation` over seeds, or None.
        millions: of parameters, or None where it is not known.
    """

    network: str
    attention: str
    increment: float
    accuracy: float
    millions: float | None
    deviation: float | None = None


def section(book: Book) -> Section:
    """A panel for each half of the paper's table, and one for each run of ours, since their set-ups differ."""
    blocks: list[Block] = []
    for column, data in (("cifar100_resnet164", "CIFAR-100"), ("imagenet_resnet50", "ImageNet")):
        points = paper_points(column, book.paper)
        blocks.append(picture(points, f"Paper: {data}", f"{SETUPS[column]}; single figures without a spread."))
    blocks += book.blocks(KINDS, blocks_of)
    return Section(
        "figure-1",
        "Figure 1: accuracy against time increment",
        blocks,
        "Up and to the left is better; areas grow with the number of parameters. Panels are of different set-ups: "
        "compare points within a panel only.",
    )


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """The panel of a run; none without two networks whose time was measured."""
    del book
    recipe, attention = entry.settings["recipe"], entry.settings["recipe"]["model"]["attention"]
    points = [run_point(row, attention) for row in entry.metrics if row["time_increment"] is not None]
    if len(points) < 2:
        return []
    n = max(row["top1"]["n"] for row in entry.metrics)
    data, images = entry.settings["data"]["name"], entry.settings["images"]
    bars = f"bars: standard deviation over {n} seeds" if n > 1 else "1 seed, so no deviation is known"
    note = (
        f"{recipe['model']['arch']}, {images['train']:,} training and {images['test']:,} test images, "
        f"{recipe['train']['epochs']} epochs; {bars}; {entry.machine}."
    )
    return [picture(points, f"Ours: {NAMES.get(data, data)}, {recipe['model']['arch']}", note, (entry.name,))]


def paper_points(column: str, paper: Mapping[str, Any]) -> list[Point]:
    """Table 1's points."""
    accuracy, times = paper["table1_accuracy_percent"][column], paper["table1_time_increment_percent"][column]
    points = []
    for network, attention in paper_rows(column, paper):
        key, millions = KEYS[network], paper_millions(network, attention, column, paper)
        if network == "Org":
            points.append(Point(network, "", 0.0, accuracy["org"], millions))
        else:
            points.append(Point(network, attention, times[attention][key], accuracy[attention][key], millions))
    return points


def run_point(row: Mapping[str, Any], attention: str) -> Point:
    """A row of a run."""
    top1 = row["top1"]
    label = next((name for name in sorted(MARKS, key=len, reverse=True) if row["network"].startswith(name)), "EAN")
    attention = "" if label == "Org" else attention
    return Point(label, attention, row["time_increment"]["value"], top1["mean"], row["parameters"] / 1e6, top1["std"])


def picture(points: Sequence[Point], name: str, note: str, records: tuple[str, ...] = ()) -> Picture:
    """A panel and what it shows in words."""
    words = "; ".join(
        f"{title(one.network, one.attention)} {one.accuracy:.2f} % at {one.increment:.1f} % more time"
        f"{f' with {one.millions:.4g} million parameters' if one.millions else ''}"
        for one in points
    )
    return Picture(name, f"{name}: {words}", partial(draw, points), note, records, wide=False)


def draw(points: Sequence[Point]) -> bytes:
    """A PNG of the points: colours for attentions, marks for networks."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from ean_core.utils.drawing import render

    figure = Figure(figsize=(4.4, 3.9), dpi=190, layout="constrained")
    axes = figure.add_subplot()
    smallest = min((one.millions for one in points if one.millions), default=1.0)
    for one in points:
        axes.errorbar(one.increment, one.accuracy, yerr=one.deviation, ecolor="#999999", elinewidth=0.9, capsize=2)
        axes.scatter(
            one.increment,
            one.accuracy,
            s=60 * (one.millions or smallest) / smallest,
            marker=MARKS[one.network],
            color=colour_of(one.attention),
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
        Line2D([], [], linestyle="", marker=MARKS[network], color=colour_of(attention), label=title(network, attention))
        for network, attention in dict.fromkeys((one.network, one.attention) for one in points)
    ]
    longest = max(len(key.get_label()) for key in keys)
    ncols = 3 if longest <= 16 else 2 if longest <= 28 else 1  # what fits into the figure's width
    figure.legend(handles=keys, loc="outside lower center", ncols=ncols, fontsize=7.5, frameon=False, markerscale=0.9)
    stream = io.BytesIO()
    render(figure, stream, format="png")
    return stream.getvalue()


def colour_of(attention: str) -> str:
    """Grey for none, then a colour per attention."""
    from ean_core.report.plots import COLOURS

    if not attention:
        return "#555555"
    return COLOURS[ATTENTIONS.index(attention)] if attention in ATTENTIONS else COLOURS[3]
