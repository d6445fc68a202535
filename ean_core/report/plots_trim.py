"""The picture of a trimmed network: metric against time on the way from all attention calls to none, and each call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ean_core.report.plots import COLORS, save, tidy
from ean_core.utils.drawing import skip_on_error
from ean_core.utils.text import difference_unit


@skip_on_error
def draw_trim(path: str | Path, record: Mapping[str, Any]) -> Path:
    """Left the front, right what each call alone loses as a mean mask against what it costs.

    Args:
        path: a .png file; replaced atomically.
        record: of kind "trim".
    """
    settings, metrics = record["settings"], record["metrics"]
    metric = metrics["metric"]
    heading = f"{metric['name']}, {metric['unit']}".rstrip(", ")
    figure = Figure(figsize=(11.0, 4.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_path(left, metrics, heading)
    _draw_calls(right, metrics, unit=difference_unit(metric["unit"], metric["name"]))
    figure.suptitle(f"{settings['model']['arch']}: {metrics['sentence']}", fontsize=9, x=0.01, ha="left", wrap=True)
    parts = settings["parts"]
    note = (
        f"{parts['validation']} validation images: {parts['note']}; bars: 95 %; times: batch "
        f"{settings['batch_size']}, {settings['mode']}, {settings['device']}"
    )
    return save(figure, path, note=note)


def _draw_path(axes: Any, metrics: Mapping[str, Any], heading: str) -> None:
    path = metrics["path"]
    times, values = [step["increment"] for step in path], [step["value"] for step in path]
    axes.plot(times, values, "-o", color=COLORS[0], markersize=4, linewidth=1.3, label="calls folded one by one")
    for step in path[1:]:
        name = f"{step['call']}{'*' if step['calibrated'] else ''}"
        axes.annotate(name, (step["increment"], step["value"]), xytext=(3, 4), textcoords="offset points", fontsize=6)
    chosen = path[metrics["chosen"]]
    axes.plot(
        chosen["increment"], chosen["value"], "o", markersize=10, fillstyle="none", color=COLORS[5], label="taken"
    )
    together = metrics["all"]
    axes.plot(0, together["mean_masks"]["value"], "s", color=COLORS[2], label="mean masks in place of all at once")
    dropped = together["dropped"]["value"]
    if abs(dropped - values[0]) < 3 * (max(values) - min(values)):  # else it would flatten the front
        axes.plot(0, dropped, "x", color=COLORS[1], label="all dropped")
    else:
        axes.plot([], [], " ", label=f"all dropped: {dropped:.1f}")
    axes.set_xlabel("time that attention adds, % (* batch norm calibrated)", fontsize=9)
    axes.set_ylabel(f"validation {heading}", fontsize=9)
    if not metrics["metric"]["higher_is_better"]:
        axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=7)
    tidy(axes)


def _draw_calls(axes: Any, metrics: Mapping[str, Any], *, unit: str) -> None:
    calls = metrics["calls"]
    for row, call in enumerate(calls.values()):
        drop = call["mean_mask"]["drop"]
        axes.plot([drop["low"], drop["high"]], [row, row], color=COLORS[0], linewidth=1.2)
        axes.plot(drop["value"], row, "o", color=COLORS[0], markersize=4)
    labels = [f"{name}  {call['share']['value']:.1f} % of time" for name, call in calls.items()]
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.axvline(0, color="#444444", linewidth=0.8)
    axes.set_xlabel(f"lost with its mean mask in its place, {unit}", fontsize=9)
    tidy(axes)
