"""Charts of the analyses: scatter plots of scores, and the Pareto front. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ean_core.report.plots import COLORS, save, tidy, whole_numbers
from ean_core.utils.drawing import skip_on_error


@dataclass(frozen=True)
class Panel:
    """One scatter plot.

    Attributes:
        title: above it.
        axis: what x is, with the unit.
        x: a value per point.
        x_error: half the width of every point's horizontal bar; 0 for none.
        whole: whether x are whole numbers.
    """

    title: str
    axis: str
    x: Sequence[float]
    x_error: float = 0.0
    whole: bool = False


@skip_on_error
def scatter_panels(
    path: str | Path,
    panels: Sequence[Panel],
    *,
    y: Sequence[float],
    y_error: float,
    connections: Sequence[float],
    y_axis: str,
    note: str,
) -> Path:
    """Panels side by side with the same y, points colored by their number of connections.

    Args:
        path: a .png file; replaced atomically.
        panels: what x is in each.
        y: a value per point.
        y_error: half the height of every point's vertical bar.
        connections: of each point, for its color.
        y_axis: what y is, with the unit.
        note: small print.
    """
    figure = Figure(figsize=(1.0 + 3.4 * len(panels), 3.9), dpi=150, layout="constrained")
    panes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(panes, panels, strict=True):
        axes.errorbar(
            panel.x, y, xerr=panel.x_error or None, yerr=y_error or None, fmt="none", ecolor="#BBBBBB", elinewidth=0.8
        )
        points = axes.scatter(
            panel.x, y, c=connections, cmap="viridis", s=26, zorder=3, edgecolors="#444444", linewidths=0.4
        )
        axes.set_title(panel.title, fontsize=8.5, loc="left")
        axes.set_xlabel(panel.axis, fontsize=9)
        if panel.whole:
            whole_numbers(axes.xaxis)
        tidy(axes)
        axes.tick_params(labelsize=8)
    panes[0].set_ylabel(y_axis, fontsize=9)
    scale = figure.colorbar(points, ax=list(panes), label="connections", fraction=0.03)
    scale.locator = MaxNLocator(integer=True)
    return save(figure, path, note=note)


@dataclass(frozen=True)
class Strips:
    """One panel of dots in rows.

    Attributes:
        title: above it.
        axis: what the values are, with the unit.
        values: name of each row -> its values, perhaps none.
    """

    title: str
    axis: str
    values: Mapping[str, Sequence[float]]


@skip_on_error
def strip_panels(path: str | Path, panels: Sequence[Strips], *, title: str, note: str) -> Path:
    """Panels side by side with the same rows: a dot per value, and a bar at each row's mean.

    Args:
        path: a .png file; replaced atomically.
        panels: all with the same rows, of which the first is on top.
        title: above the panels.
        note: small print.
    """
    names = list(panels[0].values)
    figure = Figure(figsize=(1.6 + 3.0 * len(panels), 1.4 + 0.42 * len(names)), dpi=150, layout="constrained")
    panes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(panes, panels, strict=True):
        for y, name in enumerate(names):
            values, color = panel.values[name], COLORS[y % len(COLORS)]
            axes.scatter(values, [y] * len(values), s=20, color=color, alpha=0.65, linewidths=0)
            if values:
                axes.plot([sum(values) / len(values)] * 2, [y - 0.3, y + 0.3], color=color, linewidth=1.6)
        axes.set_title(panel.title, fontsize=8.5, loc="left")
        axes.set_xlabel(panel.axis, fontsize=9)
        tidy(axes)
        axes.tick_params(labelsize=8)
    panes[0].set_yticks(range(len(names)), names)
    panes[0].set_ylim(len(names) - 0.4, -0.6)  # downwards: the first row is on top
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return save(figure, path, note=note)


@skip_on_error
def draw_front(
    path: str | Path,
    points: Sequence[tuple[float, float]],
    front: Sequence[tuple[float, float]],
    *,
    axis: str,
    note: str,
    whole: bool = False,
) -> Path:
    """Scored schemes as dots, and the Pareto front as numbered steps: below it everything is possible.

    Args:
        path: a .png file; replaced atomically.
        points: (cost, accuracy) of all schemes.
        front: of those on the front, from the cheapest.
        axis: what the cost is, with the unit.
        note: small print.
        whole: whether costs are whole numbers.
    """
    figure = Figure(figsize=(7.0, 4.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(*zip(*points, strict=True), color="#999999", s=12, alpha=0.6, linewidths=0, label="scored")
    axes.step(*zip(*front, strict=True), where="post", color=COLORS[5], linewidth=1.2, zorder=2)
    axes.scatter(*zip(*front, strict=True), color=COLORS[5], s=22, zorder=3, label="Pareto front")
    numbers: dict[tuple[float, float], list[str]] = {}  # equal points share a label
    for number, point in enumerate(front, start=1):
        numbers.setdefault(point, []).append(str(number))
    for point, labels in numbers.items():
        axes.annotate(", ".join(labels), point, xytext=(0, 5), textcoords="offset points", ha="center", fontsize=7)
    if whole:
        whole_numbers(axes.xaxis)
    axes.set_xlabel(axis, fontsize=9)
    axes.set_ylabel("validation accuracy on the supernet, %", fontsize=9)
    axes.margins(y=0.08)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    tidy(axes)
    axes.tick_params(labelsize=8)
    return save(figure, path, note=note)
