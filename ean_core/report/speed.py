"""Speed: each part against what a user would run instead."""

from __future__ import annotations

from collections.abc import Mapping

from ean_core.report import others
from ean_core.report.blocks import Block, Gap, Section, Text
from ean_core.report.book import Book, Entry

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
    """A line for every comparison that has ratios."""
    return [found for entry in book.of(*KINDS) if (found := line(entry)) is not None]


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """A record's table and pictures."""
    return others.blocks_of(book, entry)


def line(entry: Entry) -> Text | None:
    """The ratio of each way, with its interval: the first value of its row that has one."""
    parts = []
    measure = ""
    for row in others.rows_of(entry.metrics):
        name = next((value for value in row.values() if isinstance(value, str)), "")
        ratio = next(
            ((key, value) for key, value in row.items() if isinstance(value, Mapping) and "low" in value), None
        )
        if ratio is not None:
            measure = measure or ratio[0].replace("_", " ")
            parts.append(f"{name} {others.text_of(ratio[1])}")
    if not parts:
        return None
    return Text(f"{measure}: {'; '.join(parts)}. {entry.machine}.", f"Speed, {entry.title}", (entry.name,))
