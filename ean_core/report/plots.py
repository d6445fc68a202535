"""Charts as PNG files. Functions take plain values and draw them; nothing is computed here.

Figures are made without pyplot, which would choose a screen and keep figures alive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, SymmetricalLogLocator

from ean_core.scheme import Scheme
from ean_core.search.history import HistoryLine
from ean_core.utils.drawing import render, skip_on_error
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_path
from ean_core.utils.intervals import Interval

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Okabe and Ito's palette, which color-blind readers can tell apart."""


@skip_on_error
def bar_chart(
    path: str | Path,
    series: Mapping[str, Mapping[str, Interval]],
    *,
    axis: str,
    title: str = "",
    note: str = "",
    number: str = "{:.1f}",
) -> Path:
    """Horizontal bars with error bars: a group per label, read from the top, and in it a colored bar per series.

    Args:
        path: a .png file; replaced atomically.
        series: name of the series -> label -> value and interval, all in the unit that `axis` names. Labels keep the
            order in which they first come up; a series may lack some.
        axis: what the values are, with the unit.
        title: above the bars.
        note: small print below them.
        number: how the value beside a bar is written.

    Raises:
        EANError: if there is no bar to draw.
    """
    labels = list(dict.fromkeys(label for values in series.values() for label in values))
    if not labels:
        raise EANError(f"nothing to draw in {path}: no series has a value")
    thickness = 0.8 / len(series)
    figure = Figure(figsize=(8.0, 1.4 + 0.2 * len(labels) * max(len(series), 1.6)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(series.items()):
        offset = thickness * (index + 0.5) - 0.4
        bars = {labels.index(label) + offset: interval for label, interval in values.items()}
        _draw_bars(axes, bars, height=thickness * 0.92, color=COLORS[index % len(COLORS)], label=name)
        for y, interval in bars.items():
            _write_value(axes, y, interval, number)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # downwards: the first label is on top
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.margins(x=0.12)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(axis, fontsize=9)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, path, note=note)


def _draw_bars(axes: Any, bars: Mapping[float, Interval], **style: Any) -> None:
    """The bars of a series with their error bars, at given heights y."""
    intervals = list(bars.values())
    axes.barh(
        list(bars),
        [interval.value for interval in intervals],
        xerr=[
            [max(interval.value - interval.low, 0.0) for interval in intervals],
            [max(interval.high - interval.value, 0.0) for interval in intervals],
        ],
        error_kw={"elinewidth": 1.0, "capsize": 2.5, "ecolor": "#444444"},
        **style,
    )


def _write_value(axes: Any, y: float, interval: Interval, number: str) -> None:
    """The number past the end of its error bar, on the side the bar points to."""
    right = interval.value >= 0
    end = max(interval.high, 0.0) if right else min(interval.low, 0.0)
    axes.annotate(
        number.format(interval.value),
        (end, y),
        xytext=(5 if right else -5, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=7,
    )


def save(figure: Figure, path: str | Path, *, note: str = "") -> Path:
    """Write a picture, atomically, with a note in small print below it."""
    if note:
        figure.supxlabel(note, fontsize=7, x=0.01, ha="left", color="#555555")
    path = Path(path)
    with atomic_path(path) as temporary:
        render(figure, temporary)
    return path


@skip_on_error
def draw_search(path: str | Path, lines: Sequence[HistoryLine], scheme: Scheme) -> Path:
    """A search at a glance: reward, accuracy, sparsity and mean probability against steps, and the scheme found.

    Args:
        path: a .png file; replaced atomically.
        lines: of history.jsonl.
        scheme: the one returned, drawn block by block.
    """
    shown = [line for line in lines if not line.final]
    steps = [line.step for line in shown]
    total = len(scheme)
    panels: list[tuple[str, list[float | None]]] = [
        ("reward without curiosity", [line.reward for line in shown]),
        ("validation accuracy, %", [line.accuracy for line in shown]),
        ("sparsity (share of blocks without attention)", [1 - line.connections / total for line in shown]),
        ("mean probability of the drawn scheme", [line.p_mean for line in shown]),
    ]
    figure = Figure(figsize=(9.0, 7.2), dpi=150, layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(1, 1, 0.3 + 0.12 * len(scheme.blocks)))
    for number, (name, values) in enumerate(panels):
        axes = figure.add_subplot(grid[divmod(number, 2)])
        if any(value is None for value in values):
            axes.text(0.5, 0.5, "this method has no probabilities", ha="center", va="center", transform=axes.transAxes)
        else:
            axes.plot(steps, values, ".", color=COLORS[0], markersize=3, alpha=0.45, zorder=3)  # over the line
            axes.plot(steps, _moving_mean(values, width=max(1, len(values) // 20)), color=COLORS[5], linewidth=1.6)
        axes.set_title(name, fontsize=10, loc="left")
        whole_numbers(axes.xaxis)
        tidy(axes)
        if number >= 2:
            axes.set_xlabel("step", fontsize=9)
    _connection_map(figure.add_subplot(grid[2, :]), scheme)
    return save(figure, path, note="dots: scored schemes; line: moving mean over a twentieth of the search")


def tidy(axes: Any) -> None:
    """A light grid behind the data, and no frame above and on the right."""
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def whole_numbers(axis: Any) -> None:
    """Ticks of an axis of counts: none between two whole numbers."""
    axis.set_major_locator(MaxNLocator(integer=True))


def log_axes(axes: Any, *, regret: bool) -> None:
    """A logarithmic x axis of counts, with ticks at 1, 3, 10, 30, .. written as plain numbers.

    Args:
        axes: that everything has been drawn in.
        regret: whether y is one, in points: then it is logarithmic too, but linear from 0.1 to 0, which regrets reach.
    """
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    if regret:
        axes.set_yscale("symlog", linthresh=0.1, linscale=0.5)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=0.1, subs=(1, 3)))
    for axis in (axes.xaxis, axes.yaxis) if regret else (axes.xaxis,):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def plain_log_axis(axis: Any, set_scale: Any) -> None:
    """A logarithmic axis with ticks at 1, 3, 10, 30, .. written as plain numbers.

    Args:
        axis: such as `axes.yaxis`.
        set_scale: of the same axis, such as `axes.set_yscale`.
    """
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1, 3)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _moving_mean(values: Sequence[float], *, width: int) -> list[float]:
    """At every step, the mean of the last `width` values."""
    return [sum(values[max(0, i - width + 1) : i + 1]) / min(width, i + 1) for i in range(len(values))]


def _connection_map(axes: Any, scheme: Scheme) -> None:
    """A row of squares per stage, filled where the block is connected."""
    for row, stage in enumerate(scheme.stages):
        for column, bit in enumerate(stage):
            face = COLORS[0] if bit else "white"
            axes.add_patch(Rectangle((column + 0.08, row + 0.12), 0.84, 0.76, facecolor=face, edgecolor="#888888"))
    axes.set_xlim(0, max(12, *scheme.blocks))
    axes.set_ylim(len(scheme.blocks), 0)
    axes.set_yticks(
        [row + 0.5 for row in range(len(scheme.blocks))], [f"stage {n + 1}" for n in range(len(scheme.blocks))]
    )
    axes.set_xticks([column + 0.5 for column in range(max(scheme.blocks))], range(1, max(scheme.blocks) + 1))
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"the scheme found: {scheme.connections} of {len(scheme)} blocks connected (filled)", fontsize=10, loc="left"
    )
