"""Charts as PNG files. Functions take plain values and draw them; nothing is computed here.

Figures are made without pyplot, which would choose a screen and keep figures alive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
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
    low, high = shown_range([interval for values in series.values() for interval in values.values()])
    figure = Figure(figsize=(8.0, 1.4 + 0.2 * len(labels) * max(len(series), 1.6)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(series.items()):
        offset = thickness * (index + 0.5) - 0.4
        bars = {labels.index(label) + offset: interval for label, interval in values.items()}
        _draw_bars(axes, bars, height=thickness * 0.92, color=COLORS[index % len(COLORS)], label=name)
        for y, interval in bars.items():
            _write_value(axes, y, interval, number)
            if interval.high > high:
                _write_end(axes, y, (high, f"to {number.format(interval.high)}"), ha="right")
            if interval.low < low:
                _write_end(axes, y, (low, f"from {number.format(interval.low)}"), ha="left")
    _style_bar_axes(axes, labels, low=low, high=high)
    axes.set_xlabel(axis, fontsize=9)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save(figure, path, note=note)


def _style_bar_axes(axes: Any, labels: Sequence[str], *, low: float, high: float) -> None:
    """Label the groups of bars, and show the values from `low` to `high` on a grid."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # downwards: the first label is on top
    axes.axvline(0, color="#444444", linewidth=0.8)
    margin = 0.04 * (high - low)
    axes.set_xlim(low - (margin if low < 0 else 0), high + margin)
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


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


def shown_range(intervals: Sequence[Interval]) -> tuple[float, float]:
    """The part of an axis from 0 that bars are shown on: all intervals, but at most twice as far as the longest bar.

    A single wide interval would make all bars too short to compare.
    """
    values = [interval.value for interval in intervals]
    far = 2 * max(map(abs, values)) or 1.0
    low, high = min(0.0, *(each.low for each in intervals)), max(0.0, *(each.high for each in intervals))
    return max(low, -far), min(high, far)


BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9}
"""What is behind a number, so that it can be read on bars and intervals."""


def _write_value(axes: Any, y: float, interval: Interval, number: str) -> None:
    """The number at the beginning of its bar, where no interval leads the eye away from it."""
    right = interval.value >= 0
    axes.annotate(
        number.format(interval.value),
        (0, y),
        xytext=(4 if right else -4, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=7,
        zorder=5,
        bbox=BEHIND,
    )


def _write_end(axes: Any, y: float, end: tuple[float, str], *, ha: str) -> None:
    """Where an interval ends that leaves the picture."""
    x, text = end
    axes.text(x, y, text, ha=ha, va="center", fontsize=6, color="#444444", zorder=5, bbox=BEHIND)


def save(figure: Figure, path: str | Path, *, note: str = "") -> Path:
    """Write a picture, atomically, with a note in small print below it."""
    if note:
        figure.supxlabel(note, fontsize=7, x=0.01, ha="left", color="#555555", wrap=True)
    path = Path(path)
    with atomic_path(path) as temporary:
        render(figure, temporary)
    return path


@skip_on_error
def draw_search(path: str | Path, lines: Sequence[HistoryLine], scheme: Scheme, *, score: str = "accuracy, %") -> Path:
    """A search at a glance: reward, accuracy, sparsity and mean probability against steps, and the scheme found.

    Args:
        path: a .png file; replaced atomically.
        lines: of history.jsonl.
        scheme: the one returned, drawn block by block.
        score: what schemes are scored by, with its unit.
    """
    shown = [line for line in lines if not line.final]
    steps = [line.step for line in shown]
    total = len(scheme)
    panels: list[tuple[str, list[float | None]]] = [
        ("reward without curiosity", [line.reward for line in shown]),
        (f"validation {score}", [line.accuracy for line in shown]),
        ("sparsity (share of blocks without attention)", [1 - line.connections / total for line in shown]),
        ("mean probability of the drawn scheme", [line.p_mean for line in shown]),
    ]
    first = next((n for n, line in enumerate(shown) if line.bits == scheme.text), None)
    depth = len(scheme.blocks)
    figure = Figure(figsize=(9.0, 5.6 + 0.26 * depth), dpi=150, layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(0.5 + 0.26 * depth, 2.4, 2.4))
    _connection_map(figure.add_subplot(grid[0, :]), scheme)
    for number, (name, values) in enumerate(panels, 2):
        axes = figure.add_subplot(grid[divmod(number, 2)])
        if any(value is None for value in values):
            axes.text(0.5, 0.5, "this method has no probabilities", ha="center", va="center", transform=axes.transAxes)
        else:
            axes.plot(steps, values, ".", color=COLORS[0], markersize=3, alpha=0.45, zorder=3)  # over the line
            axes.plot(*_step_means(steps, values), color=COLORS[5], linewidth=1.6)
            if first is not None:
                star = {"color": "black", "markersize": 11, "markeredgecolor": "white", "zorder": 4, "clip_on": False}
                axes.plot(steps[first], values[first], "*", **star)
        axes.set_title(name, fontsize=10, loc="left")
        axes.tick_params(labelsize=8)
        whole_numbers(axes.xaxis)
        tidy(axes)
        if number >= 4:
            axes.set_xlabel("step", fontsize=9)
    star = "star: where the scheme was first scored; " if first is not None else ""
    return save(
        figure, path, note=f"{star}dots: scored schemes; line: mean of each step, over a twentieth of the search"
    )


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
    plain_log_axis(axes.xaxis, axes.set_xscale)
    if regret:
        axes.set_yscale("symlog", linthresh=0.1, linscale=0.5)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=0.1, subs=(1, 3)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


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


def _step_means(steps: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Every step once, and the mean of its values and of the steps' before it, over a twentieth of the steps."""
    by_step: dict[int, list[float]] = {}
    for step, value in zip(steps, values, strict=True):
        by_step.setdefault(step, []).append(value)
    means, width = [fmean(step) for step in by_step.values()], max(1, len(by_step) // 20)
    return list(by_step), [fmean(means[max(0, i - width + 1) : i + 1]) for i in range(len(means))]


def _connection_map(axes: Any, scheme: Scheme) -> None:
    """A row of squares per stage, filled where the block is connected."""
    deepest = max(scheme.blocks)
    for row, stage in enumerate(scheme.stages):
        for column, bit in enumerate(stage):
            face = COLORS[0] if bit else "white"
            axes.add_patch(Rectangle((column + 0.08, row + 0.08), 0.84, 0.84, facecolor=face, edgecolor="#888888"))
    axes.set_xlim(0, max(deepest, 26))  # squares are of one size, whatever the depth
    axes.set_ylim(len(scheme.blocks), 0)
    axes.set_aspect("equal", anchor="NW")
    axes.set_yticks(
        [row + 0.5 for row in range(len(scheme.blocks))], [f"stage {n + 1}" for n in range(len(scheme.blocks))]
    )
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    connected = f"{scheme.connections} of {len(scheme)} blocks connected (filled, from the first to the last)"
    axes.set_title(f"the scheme found: {connected}", fontsize=10, loc="left")
