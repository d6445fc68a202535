"""The Pareto front of accuracy against cost, and the latency tables that the cost may come from."""

from __future__ import annotations

from ean_core.report import latency_table
from ean_core.report.elements import Element, Gap, Section, Table
from ean_core.report.formatting import number
from ean_core.report.labels import labels_of
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.titles import DATA, record_title
from ean_core.utils.text import attention_label

KINDS = ("pareto",)
COMMAND = "python tools/pareto.py work_dirs/NAME"


def section(results: Results) -> Section:
    """The fronts, then the latency tables."""
    fronts = results.elements(KINDS, elements_of)
    times = results.elements(latency_table.KINDS, latency_table.elements_of)
    return Section(
        "pareto",
        "Pareto front: accuracy against cost",
        [
            *(fronts or [Gap("the Pareto front of a search", COMMAND)]),
            *(times or [Gap("the time of each connection", latency_table.COMMAND)]),
        ],
        "The schemes that a search scored and that no other one beats in both, by validation accuracy on the supernet. "
        "The best of many noisy scores look better than they are.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """A table of the points on a front, and its picture."""
    del results
    return [front_table(record), *pictures_of(record, "every scored scheme, and the front")]


def front_table(record: Record) -> Table:
    """The points of a front, the cheapest first."""
    front = record.metrics
    timed = front["cost"] != "connections"  # connections have a column of their own
    rows = []
    for point in front["points"]:
        figures = [number(point["accuracy"]), *([number(point["cost"])] if timed else []), str(point["connections"])]
        rows.append([str(point["number"]), *figures, f"`{point['bits']}`"])
    origin = front["origin"]
    data = origin.get("data") or ""
    labels = (
        origin.get("arch"),
        attention_label(origin.get("attention")),
        DATA.get(data, data),
        labels_of(origin.get("method") or ""),
        origin.get("recipe"),
    )
    note = (
        f"{len(rows)} of {front['scored']} scored schemes; {', '.join(str(label) for label in labels if label)}. "
        f"`python tools/pareto.py WORK_DIR --take N` makes point N the scheme."
    )
    heads = ("point", "validation accuracy, %", *([front["unit"]] if timed else []), "connections", "scheme")
    return Table(f"Front: {record_title(record)}", heads, rows, (), (note,), (record.name,), left=(len(heads) - 1,))
