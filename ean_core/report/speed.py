"""Speed: each part against what a user would run instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report import generic
from ean_core.report.blocks import GAP, Block, Gap, Section, Table, Text
from ean_core.report.book import Book, Entry
from ean_core.report.cells import percent, ranged
from ean_core.report.pictures import pictures_of
from ean_core.utils.text import how_many, network_label

KINDS = ("speed",)
COMMAND = "python benchmarks/scoring.py"


def section(book: Book) -> Section:
    """All figures of every comparison."""
    return Section(
        "speed",
        "Speed against the plain way",
        book.blocks(KINDS, blocks_of) or [Gap("speed against the plain way", COMMAND)],
        "Both sides take turns in one run and give the same results within rounding.",
    )


def summary(book: Book) -> list[Block]:
    """A table for every comparison of networks or of large images; a line for every other that has ratios."""
    found: list[Block | None] = []
    for entry in book.of(*KINDS):
        found.append(network_tables(entry)[0] if is_of_networks(entry) else images_table(entry) or line(entry))
    return [block for block in found if block is not None]


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """A record's table and pictures."""
    if is_of_networks(entry):
        return [*network_tables(entry), *pictures_of(entry)]
    images = images_table(entry)
    return [images, *pictures_of(entry)] if images else generic.blocks_of(book, entry)


def is_of_networks(entry: Entry) -> bool:
    """Whether it is one of benchmarks/network.py: form -> network -> times, with the authors' form among them."""
    plain = entry.metrics.get("plain") if isinstance(entry.metrics, Mapping) else None
    return isinstance(plain, Mapping) and all(isinstance(row, Mapping) and "increment" in row for row in plain.values())


def network_tables(entry: Entry) -> list[Block]:
    """Increments over Org in the same form, and how the forms compare with the authors' Org."""
    settings, forms = entry.settings, entry.metrics
    where = f"{settings['arch']}, batch {settings['batch_size']}"
    note = (
        f"{settings['rounds']} rounds interleaved, median and 95 % bootstrap interval; plain: the authors' "
        f"modules, eager float32, in eval mode without autograd (theirs: training mode with it); "
        f"{how_many(settings['threads'], 'thread')}, {entry.machine}."
    )

    def cells(name: str, cell: Any) -> list[str]:
        return [cell(rows[name]) if name in rows else GAP for rows in forms.values()]

    def speed(row: Mapping[str, Any]) -> str:
        return times_as_fast(row["time_over_plain_org"])

    def table(title: str, rows: list[list[str]]) -> Table:
        return Table(title, ("network", *forms), rows, notes=(note,), records=(entry.name,))

    others_than_org = [name for name in forms["plain"] if name != "Org"]
    increments = [
        [network_label(name), *cells(name, lambda row: percent(row["increment"]))] for name in others_than_org
    ]
    increments.append(["Org: times as fast as plain", *cells("Org", speed)])
    speeds = [[network_label(name), *cells(name, speed)] for name in forms["plain"]]
    return [
        table(f"Increment over Org in the same form, %, {where}", increments),
        table(f"Times as fast as plain Org, {where}", speeds),
    ]


def images_table(entry: Entry) -> Table | None:
    """Throughput and memory on large images, of benchmarks/counting.py or segmentors.py; None for other records."""
    sizes = entry.metrics.get("prediction", entry.metrics) if isinstance(entry.metrics, Mapping) else {}
    rows = [
        [
            f"{size}, {side}",
            f"{row['megapixels_per_second']:.3g}",
            generic.text_of(row["times_as_fast"]),
            f"{row['peak_mib']:,.0f}",
        ]
        for size, sides in sizes.items()
        if isinstance(sides, Mapping)
        for side, row in sides.items()
        if isinstance(row, Mapping) and "megapixels_per_second" in row
    ]
    if not rows:
        return None
    settings = entry.settings
    what = settings.get("config") or f"counter over {settings.get('arch')}"
    note = f"{what}; times as fast as the first of its size; {settings['rounds']} rounds interleaved; {entry.machine}."
    heads = ("image", "megapixels a second", "times as fast", "peak memory, MiB")
    return Table(f"Large images, {entry.title}", heads, rows, notes=(note,), records=(entry.name,))


def times_as_fast(over: Mapping[str, float]) -> str:
    """An increment, as a fraction, turned round."""
    return ranged(*(1 / (1 + over[key]) for key in ("value", "high", "low")))


def line(entry: Entry) -> Text | None:
    """The ratio of each way, with its interval: the first value of its row that has one."""
    parts = []
    measure = ""
    for row in generic.rows_of(entry.metrics):
        name = next((value for value in row.values() if isinstance(value, str)), "")
        ratio = next(
            ((key, value) for key, value in row.items() if isinstance(value, Mapping) and "low" in value), None
        )
        if ratio is not None:
            measure = measure or ratio[0].replace("_", " ")
            parts.append(f"{name} {generic.text_of(ratio[1])}")
    if not parts:
        return None
    return Text(f"{measure}: {'; '.join(parts)}. {entry.machine}.", f"Speed, {entry.title}", (entry.name,))
