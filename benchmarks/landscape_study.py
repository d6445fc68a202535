"""The runs, the summary and the picture of `benchmarks/search_landscapes.py`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from landscape_suite import CHECKPOINTS, SIZES, VARIANTS
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ean_core.report.colors import colors_of
from ean_core.report.labels import ANSWER_LABELS, full_name, label_of
from ean_core.report.plots import log_axes, save, tidy
from ean_core.search import METHODS, Reward, build_method, comparison
from ean_core.search.method_choice import parse_method
from ean_core.search.reward_landscapes import Landscape, make_landscape, measure_regret
from ean_core.utils.errors import unknown_name
from ean_core.utils.text import how_many

STYLES = dict(zip(ANSWER_LABELS, ("-", "--", ":"), strict=True))
"""Kinds of line."""


def add_variants(texts: Sequence[str]) -> list[str]:
    """The names of methods in `VARIANTS`, to which those that are written as for tools/search.py are added.

    Raises:
        EANError: for an unknown method.
    """
    names = []
    for text in texts:
        if text not in VARIANTS:
            choice = parse_method(text)
            if choice.method not in METHODS:
                raise unknown_name("method", text, [*VARIANTS, *METHODS])
            text = choice.label
            VARIANTS[text] = (choice.method, dict(choice.options))
        names.append(text)
    return names


# -- running ----------------------------------------------------------------------------------------------------------


def run_one(landscape: Landscape, variant: str, *, seed: int, evaluations: int) -> dict[str, Any]:
    """One search: its regret at the checkpoints, and what it cost."""
    (name, options), reward = VARIANTS[variant], Reward()
    start = time.perf_counter()
    run = measure_regret(
        lambda: build_method(name, landscape.blocks, seed=seed, reward=reward, options=options),
        landscape,
        reward,
        checkpoints=[count for count in CHECKPOINTS if count <= evaluations],
    )
    return {**dataclasses.asdict(run), "seconds": round(time.perf_counter() - start, 2)}


def run_all(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Every search, by its key; those that the cache does not hold are run, and added to it."""
    cells = read_cache(arguments.cache)
    arguments.cache.parent.mkdir(parents=True, exist_ok=True)
    with arguments.cache.open("a") as cache:
        for bits, kind in itertools.product(arguments.bits, arguments.landscapes):
            for variant, seed in itertools.product(arguments.methods, seeds_of(arguments)):
                key, (blocks, evaluations) = key_of(kind, bits, variant, seed), SIZES[bits]
                if key not in cells:
                    landscape = make_landscape(kind, blocks, seed=seed)
                    cells[key] = run_one(landscape, variant, seed=seed, evaluations=evaluations)
                    cache.write(json.dumps([key, cells[key]]) + "\n")
                    cache.flush()
            print(f"{bits} bits, {kind}: {len(arguments.methods)} methods, {arguments.seeds} seeds", flush=True)
    return cells


def seeds_of(arguments: argparse.Namespace) -> range:
    """The seeds of the landscapes, and of the searches on them."""
    return range(arguments.first_seed, arguments.first_seed + arguments.seeds)


def key_of(kind: str, bits: int, variant: str, seed: int) -> str:
    """What a search depends on, apart from the code."""
    return json.dumps([kind, bits, variant, VARIANTS[variant], seed, SIZES[bits], [*ANSWER_LABELS]])


def read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """The searches of earlier runs; a line that a kill cut short is left out."""
    cells = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            key, cell = json.loads(line)
            cells[key] = cell
    return cells


# -- what comes out ---------------------------------------------------------------------------------------------------


def summarize_regrets(cells: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per size, landscape and method: regret curves with 95 % intervals, and the costs."""
    rows = []
    for bits, kind in itertools.product(arguments.bits, arguments.landscapes):
        runs = {
            name: [cells[key_of(kind, bits, name, seed)] for seed in seeds_of(arguments)] for name in arguments.methods
        }
        curves = {
            (name, answer): np.array([run[answer] for run in runs[name]])  # (seeds, checkpoints)
            for name in runs
            for answer in ANSWER_LABELS
            if runs[name][0][answer] is not None
        }
        for name in runs:
            row: dict[str, Any] = {"bits": bits, "landscape": kind, "method": name, "n": arguments.seeds}
            row["evaluations"] = [count for count in CHECKPOINTS if count <= SIZES[bits][1]]
            for answer in ANSWER_LABELS:
                if (name, answer) in curves:
                    regrets = curves[name, answer]
                    row[answer] = [interval(column, lowest=0.0) for column in regrets.T]
                    row[f"{answer}_exact"] = round(float((regrets[:, -1] < 1e-6).mean()), 4)
                    row |= {  # the seeds are paired: the same landscapes
                        f"{answer}_minus_natural_{other}": interval(regrets[:, -1] - curves["natural", other][:, -1])
                        for other in ANSWER_LABELS
                        if "natural" in runs and name != "natural"
                    }
            for cost in ("evaluations", "proposals", "seconds"):
                row[f"mean_{cost}"] = round(float(np.mean([run[cost] for run in runs[name]])), 2)
            rows.append(row)
    return rows


def interval(values: np.ndarray, *, lowest: float = -np.inf) -> list[float | None]:
    """Mean, and the ends of its 95 % interval over the seeds; None for equal values."""
    mean = comparison.mean_with_interval(values, lowest=lowest)
    return [mean[name] for name in ("mean", "low", "high")]


def with_interval(mean: float, low: float | None, high: float | None) -> str:
    """`0.12 (0.05–0.20)`; equal regrets have no interval."""
    return f"{mean:.2f}" if low is None else f"{mean:.2f} ({low:.2f}–{high:.2f})"


def table(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """The regret at the end of the budget, as Markdown: best seen / most probable, where there is one / smoothed."""
    lines = []
    for bits in arguments.bits:
        head = ["method", *arguments.landscapes]
        lines += [
            f"\n{bits} bits, {SIZES[bits][1]} evaluations, n = {arguments.seeds}",
            "",
            "| " + " | ".join(head) + " |",
        ]
        lines += ["|" + "---|" * len(head)]
        for variant in arguments.methods:
            of_variant = [row for row in rows if row["bits"] == bits and row["method"] == variant]
            ends = [[row[answer][-1] for answer in ANSWER_LABELS if answer in row] for row in of_variant]
            texts = [" / ".join(with_interval(*end) for end in pair) for pair in ends]
            lines.append("| " + " | ".join([variant, *texts]) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace, path: Path) -> None:
    """Regret against evaluations, a panel per size and landscape; a method has a color, an answer a kind of line."""
    panels = list(itertools.product(arguments.bits, arguments.landscapes))
    columns = len(arguments.landscapes) if len(arguments.bits) > 1 else min(3, len(panels))  # five in a row are tiny
    shape = (-(-len(panels) // columns), columns)
    names = {name: full_name(*VARIANTS[name]) for name in arguments.methods}
    colors = colors_of(list(names.values()))
    legend = [Line2D([], [], color=color, label=label_of(name)) for name, color in colors.items()]
    legend += [
        Line2D([], [], color="#777777", linestyle=line, label=ANSWER_LABELS[answer])
        for answer, line in STYLES.items()
        if any(answer in row for row in rows)
    ]
    width = 0.07 * max(len(handle.get_label()) for handle in legend)
    legend_outside = len(panels) == shape[0] * columns or width > 2.4  # else the legend goes where a panel is left out
    height = max(2.6 * shape[0], 0.17 * len(legend)) + 0.6
    figure = Figure(figsize=(3.0 * columns + 0.7 + legend_outside * width, height), dpi=130, layout="constrained")
    grid = figure.subplots(*shape, sharey="row" if len(arguments.bits) > 1 else True, squeeze=False).flat
    for row in rows:
        axes = grid[panels.index((row["bits"], row["landscape"]))]
        color = colors[names[row["method"]]]
        for answer, line in STYLES.items():
            if answer in row:
                mean, low, high = np.array(row[answer], dtype=float).T
                axes.plot(row["evaluations"], mean, linestyle=line, color=color, linewidth=1.3)
                ends = [[mean[-1] - low[-1]], [high[-1] - mean[-1]]]  # bands over bands could not be told apart
                style = {"color": color, "elinewidth": 0.8, "capsize": 1.5, "fmt": "none"}
                x = row["evaluations"][-1] * 1.03 ** (1 + arguments.methods.index(row["method"]))
                axes.errorbar(x, mean[-1], yerr=ends, **style)
    for axes, (bits, landscape) in zip(grid, panels, strict=False):
        log_axes(axes, regret=True)
        axes.set_title(f"{bits} blocks, {landscape}", fontsize=9, loc="left")
        axes.set_xlabel("different schemes scored", fontsize=8)
        axes.tick_params(labelsize=8)
        tidy(axes)
    for axes in grid[::columns]:
        axes.set_ylabel("regret, points of reward", fontsize=8)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    location = "outside right center" if legend_outside else "center"
    (figure if legend_outside else grid[-1]).legend(handles=legend, loc=location, fontsize=8, frameon=False)
    note = f"mean of {how_many(arguments.seeds, 'landscape')} of each kind, bars: 95 % intervals at the end"
    save(figure, path, note=note)
