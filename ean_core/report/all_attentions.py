"""Every attention in one network: parameters and time increments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ean_core.report.elements import Element, Gap, Section, Table
from ean_core.report.formatting import counted, percent
from ean_core.report.pictures import pictures_of
from ean_core.report.record_rows import TimedMode, read_metrics
from ean_core.report.results import Record, Results
from ean_core.utils.text import attention_label, how_many

KINDS = ("attention-zoo",)
COMMAND = "python benchmarks/attention_zoo.py"


@dataclass(frozen=True)
class AttentionRow:
    """A network with one of the attentions everywhere.

    Attributes:
        attention: its name, timm's with "timm:" before it.
        timings: mode -> times.
        connections, blocks: how many of the blocks have attention.
        parameters, added_parameters: of the network, and how many of them are the attention's.
        multiply_adds: for one image.
    """

    attention: str
    timings: Mapping[str, TimedMode]
    connections: int
    blocks: int
    parameters: int
    added_parameters: int
    multiply_adds: float


def section(results: Results) -> Section:
    """A table for every network that was measured with all attentions."""
    return Section(
        "attentions",
        "Any attention: sizes and time increments",
        results.elements(KINDS, elements_of) or [Gap("all attentions in one network", COMMAND)],
        "Share-full networks, the attention of timm by its name there; cheapest first.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The table of a network, and its chart."""
    del results
    return [attention_table(record), *pictures_of(record, "time increments of all attentions")]


def attention_table(record: Record) -> Table:
    """A row per attention, sorted by the increment in the first mode."""
    settings, rows = record.settings, read_metrics(list[AttentionRow], record)
    modes = list(rows[0].timings)

    def increment_in_first_mode(row: AttentionRow) -> float:
        increment = row.timings[modes[0]].increment if modes else None
        return -1.0 if increment is None else increment.value

    cells = [
        [
            attention_label(row.attention),
            f"{row.connections}/{row.blocks}",
            counted(row.parameters),
            counted(row.added_parameters),
            f"{row.multiply_adds / 1e9:.3f}",
            *(percent(row.timings[mode].increment) for mode in modes),
        ]
        for row in sorted(rows, key=increment_in_first_mode)
    ]
    note = (
        f"Batch {settings['batch_size']}, {settings['image_size']} pixels, {settings['rounds']} rounds, median and "
        f"95 % bootstrap interval against Org in the same mode; {how_many(settings['threads'], 'thread')}, timm "
        f"{settings.get('timm', 'not installed')}, {record.machine}."
    )
    left_out = [f"{name}: {reason}" for name, reason in settings.get("skipped", {}).items()]
    heads = ("attention", "connections", "parameters", "added", "GFLOPs", *(f"{mode}, %" for mode in modes))
    notes = (note, *([f"Left out: {'; '.join(left_out)}."] if left_out else []))
    return Table(f"Attentions in {settings['arch']}", heads, cells, (), notes, (record.name,))
