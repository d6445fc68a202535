"""Time increments (Eq. 9) in every mode that was measured, beside Table 1's."""

from __future__ import annotations

from ean_core.report.elements import GAP, Element, Gap, Picture, Section, Table
from ean_core.report.formatting import counted, percent
from ean_core.report.pictures import pictures_of
from ean_core.report.record_rows import timed_rows
from ean_core.report.results import Record, Results
from ean_core.report.table1 import OF_ARCH, paper_cells, times_of
from ean_core.utils.text import how_many, network_label

KINDS = ("benchmark",)
COMMAND = "python tools/benchmark.py --arch resnet164 --attention se sge dia --scheme paper_ean_a_se_resnet164"


def section(results: Results) -> Section:
    """A table and a chart for every record of times."""
    return Section(
        "eq-9",
        "Time increment (Eq. 9)",
        results.elements(KINDS, elements_of) or [Gap("time increments", COMMAND)],
        "How much longer a forward pass takes than that of the same network without attention, in the same mode "
        "and the same run.",
    )


def summary(results: Results) -> list[Element]:
    """One table for each of the paper's networks, without charts."""
    return [increment_table(results, record) for arch in OF_ARCH for record in times_of(results, arch)]


def elements_of(results: Results, record: Record) -> list[Element]:
    """The table of a record, and its chart."""
    charts: list[Picture] = pictures_of(record, "the same increments as bars with their 95 % intervals")
    return [increment_table(results, record), *charts]


def increment_table(results: Results, record: Record) -> Table:
    """A row per network, a column per mode."""
    settings, rows = record.settings, timed_rows(record)
    subject = settings.get("arch") or str(settings["config"]).rpartition("/")[2].removesuffix(".py")
    column = None if settings.get("counter") else OF_ARCH.get(subject)  # the paper's are of classifiers
    subject = f"counter over {subject}" if settings.get("counter") else subject
    modes = list(rows[0].timings)
    heads = ["network", "connections", "parameters", "GFLOPs", *(f"{mode}, %" for mode in modes)]
    cells = []
    for row in rows:
        label, _, attention = row.network.partition(" ")
        cells.append(
            [
                network_label(row.network),
                f"{row.connections}/{row.blocks}" if row.blocks is not None else GAP,
                counted(row.parameters),
                f"{row.multiply_adds / 1e9:.3f}" if row.multiply_adds else GAP,
                *(percent(row.timings[mode].increment) if mode in row.timings else GAP for mode in modes),
                *([paper_cells(label, attention, column, results.paper)[2]] if column else []),
            ]
        )
    note = (
        f"Batch {settings['batch_size']}, {settings['image_size']} pixels, {settings['rounds']} rounds interleaved, "
        "median and 95 % bootstrap interval, each column against Org in the same mode; "
        f"{how_many(settings['threads'], 'thread')}, {record.machine}."
    )
    return Table(
        f"Time increment (Eq. 9), {subject}",
        (*heads, *(["paper (V100), %"] if column else [])),
        cells,
        notes=(note,),
        records=(record.name,),
    )
