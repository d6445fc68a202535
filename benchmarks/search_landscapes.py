"""Compare the search methods on made-up rewards whose best scheme is known, at equal numbers of evaluations."""

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
from matplotlib.figure import Figure

from ean_core.errors import EANError, command, unknown_name
from ean_core.files import atomic_path
from ean_core.plots import COLOURS
from ean_core.progress import console
from ean_core.results import write_record
from ean_core.search import Reward, build_method
from ean_core.search.landscapes import KINDS, PATIENCE, Landscape, make_landscape, measure_regret

HELP = """\
example:
  python benchmarks/search_landscapes.py --methods natural random genetic --bits 16 --seeds 5          (a minute)
  python benchmarks/search_landscapes.py --methods natural paper paper-lr0.003 --bits 54 --landscapes noise
  python benchmarks/search_landscapes.py                             every method and landscape: about an hour

Regret is the true reward of the best scheme minus that of the method's answer, in points, without the noise that the
search saw. Two answers are looked at: the scheme with the highest reward seen, and, for methods that hold
probabilities, the most probable scheme. Every seed is a landscape of its own."""

SIZES: dict[int, tuple[tuple[int, ...], int]] = {
    9: ((3, 3, 3), 100),
    16: ((3, 4, 6, 3), 300),
    54: ((18, 18, 18), 1000),
}
"""Bits -> blocks per stage (the quickstart's network, ResNet-50, ResNet-164) and evaluations."""

CHECKPOINTS = (10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000)

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "natural": ("ean", {"preset": "natural"}),
    "paper": ("ean", {"preset": "paper"}),
    "released": ("ean", {"preset": "released"}),
    "random": ("random", {}),
    "genetic": ("genetic", {}),
    "genetic-reward": ("genetic", {"objectives": "reward"}),
    "enas": ("enas", {"schemes_per_step": 5}),
    "hsp": ("hsp", {}),
    "head-k": ("head-k", {}),
    "tail-k": ("tail-k", {}),
    # one thing changed at a time; these are run only if they are asked for
    "natural-sampled": ("ean", {"preset": "natural", "memory": 0, "schemes_per_step": 10, "step_size": 0.3}),
    "natural-curiosity-off": ("ean", {"preset": "natural", "curiosity_weight": 0.0}),
    "paper-lr0.01": ("ean", {"learning_rate": 0.01}),
    "paper-lr0.003": ("ean", {"learning_rate": 0.003}),
    "paper-temperature20": ("ean", {"temperature": 20.0}),
    "paper-entropy0.1": ("ean", {"entropy_weight": 0.1}),
    "paper-replay-off": ("ean", {"replay": "off"}),
    "paper-curiosity-off": ("ean", {"curiosity_weight": 0.0}),
    "paper-baseline-off": ("ean", {"baseline_decay": None}),
    "paper-5-a-step": ("ean", {"schemes_per_step": 5}),
}
"""Name -> method and its options."""

ANSWERS = ("best", "most_probable")
MAIN = [name for name in VARIANTS if not name.startswith(("paper-", "natural-"))]


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
            for variant, seed in itertools.product(arguments.methods, range(arguments.seeds)):
                key, (blocks, evaluations) = key_of(kind, bits, variant, seed), SIZES[bits]
                if key not in cells:
                    landscape = make_landscape(kind, blocks, seed=seed)
                    cells[key] = run_one(landscape, variant, seed=seed, evaluations=evaluations)
                    cache.write(json.dumps([key, cells[key]]) + "\n")
                    cache.flush()
            print(f"{bits} bits, {kind}: {len(arguments.methods)} methods, {arguments.seeds} seeds", flush=True)
    return cells


def key_of(kind: str, bits: int, variant: str, seed: int) -> str:
    """What a search depends on, apart from the code."""
    return json.dumps([kind, bits, variant, VARIANTS[variant], seed, SIZES[bits]])


def read_cache(path: Path) -> dict[str, dict[str, Any]]:
    """The searches of earlier runs; a line that a kill cut short is left out."""
    cells = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            key, cell = json.loads(line)
            cells[key] = cell
    return cells


# -- what comes out ---------------------------------------------------------------------------------------------------


def summarise(cells: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per size, landscape and method: regret curves with 95 % intervals, and the costs."""
    rows = []
    for bits, kind in itertools.product(arguments.bits, arguments.landscapes):
        runs = {
            name: [cells[key_of(kind, bits, name, seed)] for seed in range(arguments.seeds)]
            for name in arguments.methods
        }
        curves = {
            (name, answer): np.array([run[answer] for run in runs[name]])  # (seeds, checkpoints)
            for name in runs
            for answer in ANSWERS
            if runs[name][0][answer] is not None
        }
        for name in runs:
            row: dict[str, Any] = {"bits": bits, "landscape": kind, "method": name, "n": arguments.seeds}
            row["evaluations"] = [count for count in CHECKPOINTS if count <= SIZES[bits][1]]
            for answer in ANSWERS:
                if (name, answer) in curves:
                    mine = curves[name, answer]
                    row[answer] = [interval(mine[:, place]) for place in range(mine.shape[1])]
                    row[f"{answer}_exact"] = round(float((mine[:, -1] < 1e-6).mean()), 4)
                    row |= {  # the seeds are paired: the same landscapes
                        f"{answer}_minus_natural_{other}": interval(mine[:, -1] - curves["natural", other][:, -1])
                        for other in ANSWERS
                        if "natural" in runs and name != "natural"
                    }
            for cost in ("evaluations", "proposals", "seconds"):
                row[f"mean_{cost}"] = round(float(np.mean([run[cost] for run in runs[name]])), 2)
            rows.append(row)
    return rows


def interval(values: np.ndarray, *, resamples: int = 5000) -> list[float]:
    """Mean, and the ends of its 95 % percentile bootstrap interval over the seeds."""
    means = np.random.default_rng(0).choice(values, (resamples, len(values))).mean(axis=1)
    return [round(float(one), 4) for one in (values.mean(), *np.percentile(means, (2.5, 97.5)))]


def table(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace) -> str:
    """The regret at the end of the budget, as Markdown: the best scheme seen / the most probable scheme."""
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
            mine = [row for row in rows if row["bits"] == bits and row["method"] == variant]
            ends = [[row[answer][-1] for answer in ANSWERS if answer in row] for row in mine]
            texts = [" / ".join(f"{mean:.2f} ({low:.2f}–{high:.2f})" for mean, low, high in pair) for pair in ends]
            lines.append("| " + " | ".join([variant, *texts]) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[dict[str, Any]], arguments: argparse.Namespace, path: Path) -> None:
    """Regret against evaluations, a panel per size and landscape; dashed or dotted: the most probable scheme."""
    shape = (len(arguments.bits), len(arguments.landscapes))
    lines = sum(answer in row for row in rows for answer in ANSWERS) // (shape[0] * shape[1])  # of the legend
    height = max(2.6 * shape[0], 0.15 * lines) + 0.6
    figure = Figure(figsize=(3.0 * shape[1] + 2.4, height), dpi=130, layout="constrained")
    grid = figure.subplots(*shape, squeeze=False)
    for row in rows:
        axes = grid[arguments.bits.index(row["bits"])][arguments.landscapes.index(row["landscape"])]
        place = arguments.methods.index(row["method"])
        colour, styles = COLOURS[place % len(COLOURS)], ("-", "--") if place < len(COLOURS) else ("-.", ":")
        for answer, line in zip(ANSWERS, styles, strict=True):
            if answer in row:
                mean, low, high = np.array(row[answer]).T
                label = f"{row['method']}, {answer.replace('_', ' ')}" if "most_probable" in row else row["method"]
                axes.plot(row["evaluations"], mean, line, color=colour, linewidth=1.3, label=label)
                axes.fill_between(row["evaluations"], low, high, color=colour, alpha=0.13, linewidth=0)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=0.1, linscale=0.5)
        axes.set_title(f"{row['bits']} bits, {row['landscape']}", fontsize=9, loc="left")
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.tick_params(labelsize=7)
    for axes in grid.flat:
        axes.set_ylim(bottom=0)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside right center", fontsize=7, frameon=False)
    figure.supxlabel("evaluations (different schemes scored)", fontsize=9)
    figure.supylabel(f"regret, points (mean of {arguments.seeds}, 95 %)", fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [options]")
    add = parser.add_argument
    add(
        "--methods",
        nargs="+",
        default=MAIN,
        metavar="NAME",
        help=f"of {', '.join(VARIANTS)} (default: {MAIN[0]} to {MAIN[-1]})",
    )
    add("--landscapes", nargs="+", default=list(KINDS), metavar="NAME", help=f"of {', '.join(KINDS)} (default: all)")
    add("--bits", nargs="+", type=int, default=list(SIZES), choices=list(SIZES), help="sizes (default: all)")
    add("--seeds", type=int, default=20, metavar="N", help="landscapes of each kind (default 20)")
    add(
        "--output",
        type=Path,
        default=Path("results/search_landscapes.json"),
        metavar="JSON",
        help="the record; .png beside it",
    )
    add(
        "--cache",
        type=Path,
        default=Path("work_dirs/search_landscapes.jsonl"),
        metavar="FILE",
        help="what was run; delete it after changing a method",
    )
    return parser.parse_args()


@command
def main() -> None:
    """Parse, run, write."""
    arguments = parse_arguments()
    for kind, names, known in (("method", arguments.methods, VARIANTS), ("landscape", arguments.landscapes, KINDS)):
        for name in names:
            if name not in known:
                raise unknown_name(kind, name, list(known))
    if arguments.seeds < 1:
        raise EANError(f"--seeds must be at least 1, got {arguments.seeds}")
    rows = summarise(run_all(arguments), arguments)
    settings = {
        "seeds": arguments.seeds,
        "sizes": {bits: {"blocks": SIZES[bits][0], "evaluations": SIZES[bits][1]} for bits in arguments.bits},
        "landscapes": {kind: KINDS[kind] for kind in arguments.landscapes},
        "methods": {name: {"method": VARIANTS[name][0], "options": VARIANTS[name][1]} for name in arguments.methods},
        "reward": vars(Reward()),
        "proposals_at_most": f"{PATIENCE} per evaluation",
        "regret": "points; mean and 95 % bootstrap interval over seeds, at each number of evaluations",
    }
    write_record(arguments.output, kind="search-benchmark", settings=settings, metrics=rows)
    draw(rows, arguments, arguments.output.with_suffix(".png"))
    console().print(table(rows, arguments), markup=False, highlight=False, soft_wrap=True)
    print(f"wrote {arguments.output} and {arguments.output.with_suffix('.png')}")


if __name__ == "__main__":
    main()
