"""Charts of a comparison of search methods, each from its record; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ean_core.report.colors import FURTHER_COLORS, colors_of
from ean_core.report.figure4_tests import against_random
from ean_core.report.labels import label_of
from ean_core.report.plots import COLORS, log_axes, save, tidy, whole_numbers
from ean_core.scheme import Scheme
from ean_core.utils.drawing import skip_on_error
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many

Record = Mapping[str, Any]
GRAY = "#888888"
OTHERS = "#D5D5D5"
"""The methods behind the one that a panel is of."""


@skip_on_error
def draw_comparison(path: str | Path, record: Record) -> Path:
    """Best reward so far against evaluations, or the regret where all schemes were scored: mean and extreme seeds.

    Args:
        path: a .png file; replaced atomically.
        record: of kind "search-comparison".
    """
    settings, metrics = record["settings"], record["metrics"]
    has_regret, looks, curves = settings["exhaustive"], _looks(record), {}
    for label in looks:
        counts, rewards = _over_seeds([run for run in metrics["runs"] if run["method"] == label])
        curves[label] = counts, metrics["highest"]["reward"] - rewards if has_regret else rewards  # (seeds, counts)
    across = min(4, len(looks))
    down = -(-len(looks) // across)
    figure = Figure(figsize=(1.2 + 2.3 * across, 1.1 + 1.75 * down), dpi=150, layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat
    for axes, (label, (color, style)) in zip(panels, looks.items(), strict=False):
        # The best so far stays until a better one is found; the last value has no step of its own, so it gets a dot.
        for other, (counts, values) in curves.items():
            if other != label:
                axes.plot(counts, values.mean(axis=0), color=OTHERS, linewidth=0.8, drawstyle="steps-post")
        counts, values = curves[label]
        band = {"color": color, "alpha": 0.2, "linewidth": 0, "step": "post"}
        axes.fill_between(counts, values.min(axis=0), values.max(axis=0), **band)
        line = {"color": color, "linewidth": 1.6, "drawstyle": "steps-post", "zorder": 3}
        line |= {"marker": "o", "markersize": 4, "markevery": [-1], "clip_on": False}
        axes.plot(counts, values.mean(axis=0), style, label=label_of(label), **line)
        log_axes(axes, regret=has_regret)
        tidy(axes)
        axes.tick_params(labelsize=7)
        axes.set_title(label_of(label), fontsize=8.5, loc="left")
        axes.set_xlabel("schemes scored", fontsize=8)
        axes.label_outer()
    for axes in panels:  # those that no method is left for
        axes.set_axis_off()
    best = f"regret: points below the best of all {metrics['schemes']} schemes" if has_regret else None
    figure.supylabel(best or "reward of the best scheme so far, points", fontsize=9)
    figure.suptitle(f"Search methods on one supernet, {settings['recipe']['name']}", fontsize=11, x=0.01, ha="left")
    bands = f"mean of {settings['seeds']} search seeds, band from the lowest to the highest"
    note = f"{bands if settings['seeds'] > 1 else '1 search seed'}; gray: the other methods; {_images_of(record)}; "
    note += "schemes scored: different ones asked for, a gradient counts by its passes"
    return save(figure, path, note=note)


def _over_seeds(runs: list[Record]) -> tuple[list[int], np.ndarray]:
    """Evaluations that all seeds have reached, and the rewards there (seeds, counts)."""
    curves = [dict(zip(run["curve"]["evaluations"], run["curve"]["reward"], strict=True)) for run in runs]
    counts = sorted(set.intersection(*(set(curve) for curve in curves)))
    return counts, np.array([[curve[count] for count in counts] for curve in curves]).reshape(len(curves), -1)


@skip_on_error
def draw_distributions(path: str | Path, record: Record) -> Path:
    """Fig. 4: validation accuracies of random schemes and of those the searches' last probabilities give.

    Raises:
        EANError: if no schemes were drawn.
    """
    figure4 = record["metrics"]["figure4"]
    methods = figure4.get("methods", {})
    if not methods:
        raise EANError(f"nothing to draw in {path}: no method has probabilities that schemes were drawn from")
    drawn = figure4["random"]["accuracy"]
    values = [*drawn, *(value for sample in methods.values() for value in sample["accuracy"])]
    low, high = min(values), max(values)
    edges = np.linspace(low, high if high > low else low + 1, 25)
    figure = Figure(figsize=(7.6, 0.9 + 1.35 * len(methods)), dpi=150, layout="constrained")
    grid = figure.subplots(len(methods), 1, sharex=True, squeeze=False)[:, 0]
    colors = colors_of(list(record["settings"]["methods"]))
    for axes, (label, sample) in zip(grid, methods.items(), strict=True):
        for accuracies, color, name in (
            (drawn, GRAY, "random"),
            (sample["accuracy"], colors[label], label_of(label)),
        ):
            weights = np.full(len(accuracies), 1 / len(accuracies))
            axes.hist(accuracies, edges, weights=weights, color=color, alpha=0.55, label=name)
            axes.axvline(float(np.mean(accuracies)), color=color, linewidth=1.2)
        tests = against_random(record, label)
        text = (
            f"{tests['difference']:+.2f} points\nWelch p {_p(tests['welch_p'])}, {how_many(tests['groups'], 'seed')}\n"
            f"{sample['different']} different of {sample['n']}"
        )
        axes.text(1.01, 0.5, text, transform=axes.transAxes, fontsize=7, va="center")
        axes.legend(frameon=False, fontsize=7, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
    grid[-1].set_xlabel("validation accuracy on the supernet, %", fontsize=9)
    figure.supylabel("share of the schemes", fontsize=9)
    title = f"Random schemes and those of the searches (as Fig. 4), {record['settings']['recipe']['name']}"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    note = f"{figure4['random']['n']} random schemes; vertical lines: means; {_images_of(record)}"
    return save(figure, path, note=note)


def _p(value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:.1g}" if value < 0.01 else f"{value:.2f}"


@skip_on_error
def draw_convergence(path: str | Path, record: Record) -> Path:
    """Fig. 5: mean probability of the proposed scheme against proposals, a thin line per seed and a thick mean.

    Raises:
        EANError: if no method has probabilities.
    """
    settings, runs = record["settings"], record["metrics"]["runs"]
    figure, axes = _figure(width=8.6, height=4.2)
    labels = [label for label in settings["methods"] if any(r["method"] == label and r["probability"] for r in runs)]
    if not labels:
        raise EANError(f"nothing to draw in {path}: none of the methods has probabilities")
    looks = _looks(record)
    for label in labels:
        color, style = looks[label]
        curves = [run["probability"] for run in runs if run["method"] == label]
        for curve in curves:
            axes.plot(curve["proposals"], curve["p_mean"], color=color, linewidth=0.6, alpha=0.4)
        longest = min(len(curve["proposals"]) for curve in curves)
        mean = np.mean([curve["p_mean"][:longest] for curve in curves], axis=0)
        axes.plot(curves[0]["proposals"][:longest], mean, style, color=color, linewidth=1.8, label=label_of(label))
    lowest = min(min(run["probability"]["p_mean"]) for run in runs if run["probability"])
    axes.set_ylim(min(0.45, lowest - 0.01), 1.01)
    whole_numbers(axes.xaxis)
    axes.set_xlabel("proposals", fontsize=9)
    axes.set_ylabel("mean probability of the proposed scheme's bits", fontsize=9)
    _finish(figure, axes, title=f"How fast the probabilities settle (as Fig. 5), {settings['recipe']['name']}")
    lines = f"thick: mean of {settings['seeds']} search seeds, thin: each" if settings["seeds"] > 1 else "1 search seed"
    return save(figure, path, note=f"{lines}; 0.5: undecided, 1: the method proposes one scheme only")


@skip_on_error
def draw_schemes(path: str | Path, schemes: Mapping[str, Scheme], *, title: str = "") -> Path:
    """Table 2 as a picture: a row per scheme, its stages side by side, a filled square where a block is connected.

    Args:
        path: a .png file; replaced atomically.
        schemes: label -> scheme; they need not be of one network.
        title: above the rows.

    Raises:
        EANError: if there is no scheme.
    """
    if not schemes:
        raise EANError(f"nothing to draw in {path}: no scheme was given")
    widest = max(len(scheme) + len(scheme.blocks) for scheme in schemes.values())
    figure = Figure(figsize=(3.2 + 0.16 * widest, 0.7 + 0.26 * len(schemes)), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for row, scheme in enumerate(schemes.values()):
        x = 0.0
        for number, stage in enumerate(scheme.stages):
            for bit in stage:
                face = COLORS[number % 3] if bit else "white"
                axes.add_patch(Rectangle((x + 0.08, row + 0.14), 0.84, 0.72, facecolor=face, edgecolor=GRAY))
                x += 1
            x += 0.8
        axes.text(x, row + 0.5, f"{scheme.connections}/{len(scheme)}", va="center", fontsize=7)
    axes.set_xlim(0, widest + 3)
    axes.set_ylim(len(schemes), 0)
    axes.set_yticks([row + 0.5 for row in range(len(schemes))], list(schemes))
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return save(figure, path, note="a square per block, filled where it is connected; a color per stage")


@skip_on_error
def draw_retrained(path: str | Path, record: Record, *, key: str = "top1", metric: str = "accuracy, %") -> Path:
    """Table 4 as a picture: test results against time increment of the methods' schemes, trained from scratch.

    Args:
        path: a .png file; replaced atomically.
        record: of kind "search-retrained".
        key: of the test result in the record's rows.
        metric: its name and unit.
    """
    figure, axes = _figure(width=7.6, height=4.4)
    colors = colors_of([row["methods"][0] for row in record["metrics"]])
    for number, row in enumerate(record["metrics"]):
        time = row["time_increment"] or {"value": 0.0, "low": 0.0, "high": 0.0}
        result, spread = row[key]["mean"], row[key]["std"]
        sides = [[max(0.0, time["value"] - time["low"])], [max(0.0, time["high"] - time["value"])]]
        axes.errorbar(
            [time["value"]], [result], xerr=sides, yerr=None if spread is None else [spread],
            fmt="osD^v<>P"[number % 8], color=colors[row["methods"][0]], capsize=2, elinewidth=0.8,
            label=", ".join(map(label_of, row["methods"])),
        )  # fmt: skip
    axes.set_xlabel("inference time increment over Org (Eq. 9), %", fontsize=9)
    axes.set_ylabel(f"test {metric}", fontsize=9)
    settings, seeds = record["settings"], max(row[key]["n"] for row in record["metrics"])
    _finish(figure, axes, title=f"The methods' schemes trained from scratch (as Table 4), {settings['recipe']['name']}")
    spread = "mean and standard deviation of " if seeds > 1 else ""
    results = (
        f"{metric.split(',')[0]}: {spread}{how_many(seeds, 'training seed')}, "
        f"{how_many(settings['images']['test'], 'test image')}"
    )
    return save(figure, path, note=f"{results}; time: median and 95 % interval")


# -- what the charts share --------------------------------------------------------------------------------------------


def _images_of(record: Record) -> str:
    """On how many images the schemes of a comparison were scored."""
    return how_many(record["settings"]["validation_images"], "validation image")


def _figure(*, width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    return figure, figure.add_subplot()


def _looks(record: Record) -> dict[str, tuple[str, str]]:
    """Each method's color, and its kind of line: dashed where the color is not the method's own."""
    colors = colors_of(list(record["settings"]["methods"]))
    return {label: (color, "--" if color in FURTHER_COLORS else "-") for label, color in colors.items()}


def _finish(figure: Figure, axes: Any, *, title: str) -> None:
    tidy(axes)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
