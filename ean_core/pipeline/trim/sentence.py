"""What trimming found, in a sentence, and as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.pipeline.trim.cost import TRIMMED
from ean_core.pipeline.trim.greedy import Limits
from ean_core.utils.screen import make_table, print_table, say
from ean_core.utils.text import difference_unit, how_many

MOST_APART = 5.0
"""Percent by which the sum of the calls' times and the times of whole networks may differ without a warning."""


def conclusion(metrics: Mapping[str, Any], *, limits: Limits, parts: Mapping[str, Any], device: str) -> str:
    """How many calls can go, for how much, and what that saves.

    Args:
        metrics: of the record.
        limits: that chose.
        parts: the fields of `Parts`.
        device: its name; any CPU is called "this CPU".
    """
    metric, total, folded = metrics["metric"], len(metrics["calls"]), len(metrics["folded"])
    name, unit = metric["name"], difference_unit(metric["unit"], metric["name"])
    wanted = limits.describe(unit)
    chosen = how_many(parts["validation"], "validation image")
    if not folded:
        return f"None of {how_many(total, 'attention call')} can be removed with {wanted} on {chosen}"
    drop, saved = (metrics["test"] or metrics["trimmed"])["drop"], metrics["times"][TRIMMED]["saved"]
    lost = f"{rounded(drop['value'])} {unit}" + ("" if unit == name else f" of {name}")
    measured = "on the images that chose, which is optimistic"  # an interval would hold the true loss too rarely
    if metrics["test"]:
        interval = f"{rounded(drop['low'])} to {rounded(drop['high'])}"
        measured = f"95 %: {interval}; {how_many(parts['test'], 'test image')}"
    where = "this CPU" if device.endswith("CPU") else device
    return (
        f"{folded} of {how_many(total, 'attention call')} can be removed at a loss of {lost} ({measured}; "
        f"chosen for {wanted} on {chosen}); {time_saved(saved, where=where)}"
    )


def time_saved(saved: Mapping[str, float], *, where: str) -> str:
    """What the whole network's time was measured to save, in percent; an interval with 0 in it shows no saving."""
    interval = f"{saved['low']:.0f} to {saved['high']:.0f}"
    if round(saved["low"]) <= 0 <= round(saved["high"]):
        return f"whether that saves time on {where} is unclear ({saved['value']:.0f} %, 95 %: {interval})"
    if saved["high"] < 0:
        return f"that takes {-saved['value']:.0f} % ({-saved['high']:.0f} to {-saved['low']:.0f}) more time on {where}"
    return f"that saves {saved['value']:.0f} % ({interval}) of the time on {where}"


def disagreement(metrics: Mapping[str, Any]) -> str | None:
    """A warning where the calls' own times, which the table adds up, do not fit what the whole networks took."""
    saved, path = metrics["times"][TRIMMED]["saved"], metrics["path"]
    before, after = path[0]["increment"], path[metrics["chosen"]]["increment"]
    added = 100 * (before - after) / (100 + before)
    if saved is None or abs(added - saved["value"]) <= max(MOST_APART, saved["high"] - saved["low"]):
        return None
    return (
        f"the folded calls' own times add up to {added:.0f} % of the time, and whole networks differ by "
        f"{saved['value']:.0f} %: the machine was busy; measure again on a quiet machine, with more --rounds"
    )


def print_tables(metrics: Mapping[str, Any]) -> None:
    """The calls, the worth of them all, and the order of folding."""
    metric = metrics["metric"]
    heading, unit = f"{metric['name']} {metric['unit']}".rstrip(), difference_unit(metric["unit"], metric["name"])
    heads = ["call", "with its mean mask", f"loss, {unit} (95 %)", "dropped", "ms (95 %)", "share of time %"]
    table = make_table(f"each call alone; {heading} as trained: {metrics['validation']:.2f}", heads)
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
        f"worth of the attention, {unit}: {ranged(worth['total'])}; static (a scale that folds away) "
        f"{ranged(worth['static'])}, dynamic {ranged(worth['dynamic'])}"
    )
    print_path(metrics, heading=heading, unit=unit)


def print_path(metrics: Mapping[str, Any], *, heading: str, unit: str) -> None:
    """Print the order of folding, with the metric and the time after each step."""
    heads = ["folded", heading, f"loss, {unit} (95 %)", "time increment %, from the calls' times", ""]
    table = make_table("folded one by one", heads)
    for number, step in enumerate(metrics["path"]):
        mark = "taken" if number == metrics["chosen"] else ""
        name = step["call"] or "nothing"
        cells = f"{step['value']:.2f}", ranged(step["drop"]), f"{step['increment']:.2f}", mark
        table.add_row(f"+ {name}" if number else name, *cells)
    print_table(table)
    if (warning := disagreement(metrics)) is not None:
        say(f"warning: {warning}")
    print_groups(metrics["groups"])


def print_groups(groups: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print the figures of the groups of images, before and after; nothing where there are no groups."""
    table = make_table("the network that was taken, part by part", ["", "as trained", "trimmed"])
    for part, figures in groups.items():
        for name, value in figures.items():
            table.add_row(f"{part} {name}", f"{value['before']:.2f}", f"{value['after']:.2f}")
    if groups:
        print_table(table)


def ranged(interval: Mapping[str, float], digits: int = 2) -> str:
    """A value with its interval, such as `0.20 (0.10 to 0.30)`."""
    value, low, high = (rounded(interval[name], digits) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def rounded(value: float, digits: int = 2) -> str:
    """A value with so many decimals; a zero has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"
