"""What trimming found, in a sentence, and as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.pipeline.trim.cost import TRIMMED
from ean_core.pipeline.trim.greedy import Limits
from ean_core.utils.screen import make_table, print_table, say
from ean_core.utils.text import how_many


def unit_of(metric: Mapping[str, Any]) -> str:
    """The unit of a difference of the metric: points of a percentage, else its name."""
    return "points" if metric["unit"] == "%" else metric["unit"] or metric["name"]


def conclusion(metrics: Mapping[str, Any], *, limits: Limits, parts: Mapping[str, Any], device: str) -> str:
    """How many calls can go, for how much, and what that saves.

    Args:
        metrics: of the record.
        limits: that chose.
        parts: the fields of `Parts`.
        device: its name; any CPU is called "this CPU".
    """
    unit, total, folded = unit_of(metrics["metric"]), len(metrics["calls"]), len(metrics["folded"])
    wanted = limits.describe(unit)
    chosen = how_many(parts["validation"], "validation image")
    if not folded:
        return f"None of {how_many(total, 'attention call')} can go with {wanted} on {chosen}"
    drop, saved = (metrics["test"] or metrics["trimmed"])["drop"], metrics["times"][TRIMMED]["saved"]
    name = metrics["metric"]["name"]
    lost = f"{drop['value']:.2f} {unit}" + ("" if unit == name else f" of {name}")
    interval = f"95 %: {drop['low']:.2f} to {drop['high']:.2f}"
    tested = f"{how_many(parts['test'], 'test image')}; " if metrics["test"] else ""
    where = "this CPU" if device.endswith("CPU") else device
    return (
        f"{folded} of {how_many(total, 'attention call')} can go for {lost} ({interval}; {tested}chosen for {wanted} "
        f"on {chosen}); that saves {saved['value']:.0f} % ({saved['low']:.0f} to {saved['high']:.0f}) of the time on "
        f"{where}"
    )


def print_tables(metrics: Mapping[str, Any]) -> None:
    """The calls, the worth of them all, and the order of folding."""
    metric = metrics["metric"]
    heading, unit = f"{metric['name']} {metric['unit']}".rstrip(), unit_of(metric)
    heads = ["call", "with its mean mask", f"loss, {unit} (95 %)", "dropped", "ms (95 %)", "share of time %"]
    table = make_table(f"each call alone, {heading} {metrics['validation']:.2f} as trained", heads)
    for name, call in metrics["calls"].items():
        mean, time = call["mean_mask"], call["milliseconds"]
        table.add_row(
            name,
            f"{mean['value']:.2f}",
            ranged(mean["drop"]),
            f"{call['dropped']['value']:.2f}",
            ranged(time, 3),
            f"{call['share']['value']:.2f}",
        )
    print_table(table)
    if metrics["warning"] is not None:
        say(f"warning: {metrics['warning']}")
    together = metrics["all"]
    values = {name: together[name]["value"] for name in together if name != "worth"}
    say(
        f"all calls: {heading} {values['mean_masks']:.2f} with mean masks ({values['mean_masks_calibrated']:.2f} with "
        f"batch norm calibrated), {values['dropped']:.2f} dropped ({values['dropped_calibrated']:.2f} calibrated)"
    )
    worth = together["worth"]
    say(
        f"worth of the attention, {unit}: {ranged(worth['total'])}, of which static (a scale that folds away) "
        f"{ranged(worth['static'])}, dynamic {ranged(worth['dynamic'])}"
    )
    print_path(metrics, heading=heading, unit=unit)


def print_path(metrics: Mapping[str, Any], *, heading: str, unit: str) -> None:
    """Print the order of folding, with the metric and the time after each step."""
    heads = ["folded", heading, f"loss, {unit} (95 %)", "time over none %", ""]
    table = make_table("folded one after the other", heads)
    for number, step in enumerate(metrics["path"]):
        mark = "taken" if number == metrics["chosen"] else ""
        name = step["call"] or "nothing"
        cells = f"{step['value']:.2f}", ranged(step["drop"]), f"{step['increment']:.2f}", mark
        table.add_row(f"+ {name}" if number else name, *cells)
    print_table(table)


def ranged(interval: Mapping[str, float], digits: int = 2) -> str:
    """A value with its interval, such as `0.20 (0.10 to 0.30)`."""
    return "{value:.{d}f} ({low:.{d}f} to {high:.{d}f})".format(**interval, d=digits)
