"""Every attention in one network: parameters and time increments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report.elements import Element, Gap, Section, Table
from ean_core.report.formatting import counted, percent
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.utils.text import attention_label, how_many

KINDS = ("attention-zoo",)
COMMAND = "python benchmarks/attention_zoo.py"


def section(results: Results) -> Section:
    """A table for every network."""
    return Section(
        "attentions",
        "Any attention: sizes and time increments",
        results.elements(KINDS, elements_of) or [Gap("all attentions in one network", COMMAND)],
        "Share-full networks, the attention of timm by its name there; cheapest first.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """A record's table and picture."""
    del results
    return [zoo_table(record), *pictures_of(record, "time increments of all attentions")]


def zoo_table(record: Record) -> Table:
    """A row per attention, by the first setting's increment."""
    settings, rows = record.settings, record.metrics
    measured = list(rows[0]["timings"])

    def cost(row: Mapping[str, Any]) -> float:
        found = row["timings"][measured[0]]["increment"] if measured else None
        return -1.0 if found is None else found["value"]

    cells = [
        [
            attention_label(row["attention"]),
            f"{row['connections']}/{row['blocks']}",
            counted(row["parameters"]),
            counted(row["added_parameters"]),
            f"{row['multiply_adds'] / 1e9:.3f}",
            *(percent(row["timings"][one]["increment"]) for one in measured),
        ]
        for row in sorted(rows, key=cost)
    ]
    note = (
        f"Batch {settings['batch_size']}, {settings['image_size']} pixels, {settings['rounds']} rounds, median and "
        f"95 % bootstrap interval against Org in the same setting; {how_many(settings['threads'], 'thread')}, timm "
        f"{settings.get('timm', 'not installed')}, {record.machine}."
    )
    left_out = [f"{name}: {reason}" for name, reason in settings.get("skipped", {}).items()]
    heads = ("attention", "connections", "parameters", "added", "GFLOPs", *(f"{one}, %" for one in measured))
    notes = (note, *([f"Left out: {'; '.join(left_out)}."] if left_out else []))
    return Table(f"Attentions in {settings['arch']}", heads, cells, (), notes, (record.name,))
