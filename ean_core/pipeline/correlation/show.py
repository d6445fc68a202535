"""What a correlation study shows: a table, lines and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ean_core.pipeline.correlation.study import COUNT
from ean_core.pipeline.task import Metric
from ean_core.report.correlation import with_fisher
from ean_core.utils.intervals import FEWEST_FOR_INTERVAL, FEWEST_PAIRS
from ean_core.utils.screen import make_table, print_table, say
from ean_core.utils.text import difference_unit, how_many

WAY_NAMES = {"running": "score with running BN statistics", "re-estimated": "score with calibrated BN"}
"""What a record's ways of scoring are called."""
COEFFICIENT_NAMES = ("Pearson's r", "Spearman's rho", "Kendall's tau")


def print_summary(figures: Mapping[str, Any], *, metric: Metric) -> None:
    """Print the figures.

    Args:
        figures: of `study_figures`.
        metric: what trained networks were tested by.
    """
    total = len(figures["schemes"])
    if "correlations" not in figures:
        say(f"{figures['trained']} of {total} schemes trained: a correlation needs {FEWEST_PAIRS}")
        return
    few = figures["trained"] < FEWEST_FOR_INTERVAL
    heads = [f"correlation with test {metric.name}{'' if few else ' (95 %)'}", *COEFFICIENT_NAMES]
    table = make_table(f"{figures['trained']} of {total} schemes trained from scratch", heads)
    named = {way: WAY_NAMES.get(way, way) for way in figures["correlations"] if way != COUNT}
    for way, row in figures["correlations"].items():
        table.add_row(named.get(way, "number of connections"), *(show(coefficient) for coefficient in row.values()))
    table.add_row("calibrated minus running", *(show(coefficient) for coefficient in figures["difference"].values()))
    if figures["ceiling"]:
        table.add_row("a score without error, at most", show(figures["ceiling"]))
    print_table(table)
    for way, spread in figures["spread"].items():
        say(describe_spread(named.get(way, f"test {metric.name}"), spread, "%" if way in named else metric.unit))
    say(describe_correlation(figures, named))


def describe_correlation(figures: Mapping[str, Any], named: Mapping[str, str]) -> str:
    """What the rank correlations say of the proxy, in a sentence.

    Args:
        figures: with correlations.
        named: way -> what the sentence calls it.
    """
    trained = how_many(figures["trained"], "scheme")
    if figures["trained"] < FEWEST_FOR_INTERVAL:
        return (
            f"{trained} are too few for an interval: the coefficients above say next to nothing; train at least "
            f"{FEWEST_FOR_INTERVAL} (--schemes {FEWEST_FOR_INTERVAL})."
        )
    verdicts = []
    for way, name in named.items():
        rho = figures["correlations"][way]["spearman"]
        if None in rho.values():
            verdict = "all schemes have the same score"
        elif rho["low"] > 0:
            verdict = "orders the schemes better than chance"
        elif rho["high"] < 0:
            verdict = "orders the schemes the wrong way round"
        else:
            verdict = "cannot be shown to order the schemes better than chance"
        verdicts.append(f"the {name} {verdict} (rho {show(rho)})")
    return sentence_of(f"over {trained}, {'; '.join(verdicts)}")


def sentence_of(text: str) -> str:
    """The text with a capital at its beginning and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}."


def describe_spread(name: str, spread: Mapping[str, float | None], unit: str) -> str:
    """Mean, deviation and error of some schemes' values in a sentence."""
    text = f"{name}: mean {spread['mean']:.2f} {unit}, deviation {spread['deviation']:.2f}"
    errors = {
        "standard error of one": spread["standard_error"],
        "deviation between seeds": spread.get("seed_deviation"),
    }
    shown = ", ".join(f"{what} {error:.2f}" for what, error in errors.items() if error is not None)
    return f"{text}, range {spread['range']:.2f} {difference_unit(unit, name)}" + (f"; {shown}" if shown else "")


def print_line(figures: Mapping[str, Any]) -> None:
    """Where a study stands, in a line."""
    text = f"{figures['trained']} of {how_many(len(figures['schemes']), 'scheme')} trained"
    if "correlations" in figures:
        rows = {way: row for way, row in figures["correlations"].items() if way != COUNT}
        text += "; rho " + ", ".join(
            f"{show(row['spearman'])} for the {WAY_NAMES.get(way, way)}" for way, row in rows.items()
        )
    say(text)


def show(estimate: Mapping[str, float | None]) -> str:
    """`+0.62 (+0.10 to +0.88)`, without an interval where there is none; a dash where nothing varies."""
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['value']:+.2f}"
    return f"{estimate['value']:+.2f} ({estimate['low']:+.2f} to {estimate['high']:+.2f})"


def draw_correlations(path: Path, record: Mapping[str, Any], *, metric: Metric) -> Path:
    """Draw a scatter plot for each way of scoring.

    Args:
        path: a .png file; replaced atomically.
        record: of kind "correlation", with correlations.
        metric: what trained networks were tested by.
    """
    from ean_core.report.plots_analysis import Panel, scatter_panels  # matplotlib takes a second to import

    figures, panels = record["metrics"], []
    trained = [row for row in figures["schemes"] if row[metric.key]]
    for way, coefficients in figures["correlations"].items():
        counted, rho = way == COUNT, with_fisher(coefficients, pairs=figures["trained"])["spearman"]
        title = "number of connections" if counted else f"batch norm {way}"
        panels.append(
            Panel(
                title=f"{title}\nSpearman's rho {show(rho)}",
                axis="connections" if counted else "score on the supernet, %",
                x=[row["connections"] if counted else row["scores"][way] for row in trained],
                x_error=0.0 if counted else figures["spread"][way]["standard_error"] or 0.0,
                whole=counted,
            )
        )
    counts = [row[metric.key]["n"] for row in trained]
    unit = f", {metric.unit}" if metric.unit else ""
    seeds = ("up to " if min(counts) < max(counts) else "") + how_many(max(counts), "seed")
    return scatter_panels(
        path,
        panels,
        y=[row[metric.key]["mean"] for row in trained],
        y_error=figures["spread"]["trained"]["standard_error"] or 0.0,
        connections=[row["connections"] for row in trained],
        y_axis=f"test {metric.name} trained from scratch{unit}",
        note=f"{record['settings']['recipe']['name']}, {how_many(len(trained), 'scheme')}, {seeds} each; "
        "bars: standard error from the number of images alone",
    )
