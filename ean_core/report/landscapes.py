"""Searches on made-up rewards with a known best scheme: regret at the end of the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ean_core.report.blocks import GAP, Block, Gap, Section, Table
from ean_core.report.book import Book, Entry
from ean_core.report.cells import ranged, sentence
from ean_core.report.labels import full_name, label_of
from ean_core.report.pictures import pictures_of
from ean_core.search.landscape_suite import ANSWERS

KINDS = ("search-benchmark",)
COMMAND = "python benchmarks/search_landscapes.py"


def section(book: Book) -> Section:
    """The summary, then a table and a plot for every record."""
    return Section(
        "made-up-rewards",
        "Searches on made-up rewards with a known best scheme",
        [*summary(book), *book.blocks(KINDS, blocks_of)] or [Gap("searches on made-up rewards", COMMAND)],
        "No training is needed here, the best scheme is known, and all methods score equally many schemes.",
    )


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """A record's table and plot."""
    del book
    return [
        full_table(entry),
        *pictures_of(entry, "regret against the number of schemes scored, a panel per landscape"),
    ]


def full_table(entry: Entry) -> Table:
    """A row per method and answer, a column per landscape and size."""
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for row in entry.metrics:
        column = f"{row['landscape']}, {row['bits']} blocks"
        columns[column] = None
        for answer, words in ANSWERS.items():
            if row.get(answer):
                cells.setdefault(f"{label(entry, row)}, {words}", {})[column] = ranged(*row[answer][-1])
    rows = [[label, *(row.get(one, GAP) for one in columns)] for label, row in cells.items()]
    return Table(
        f"Regret at the end, {entry.title}",
        ("method, its answer", *columns),
        rows,
        notes=(setup(entry),),
        records=(entry.name,),
    )


def label(entry: Entry, row: Mapping[str, Any]) -> str:
    """The method of a row with its options, which the record names in short."""
    return label_of(full_name(**entry.settings["methods"][row["method"]]))


def setup(entry: Entry) -> str:
    """What the figures of a record are."""
    settings = entry.settings
    budgets = ", ".join(f"{size['evaluations']} for {bits} blocks" for bits, size in settings["sizes"].items())
    return (
        f"Regret in points of reward (0 is the best scheme), mean and 95 % interval over {settings['seeds']} "
        f"landscapes of a kind; different schemes scored: {budgets}. {entry.machine}.{own_note(entry)}"
    )


def own_note(entry: Entry) -> str:
    """What a record says of itself, behind a blank; empty where it says nothing."""
    return f" {sentence(note)}" if (note := entry.content.get("note")) else ""


def summary(book: Book) -> list[Block]:
    """One table for all sizes: a row per method and answer, the mean over the kinds of landscape."""
    chosen = widest(book.of(*KINDS))
    if not chosen:
        return []
    sizes = sorted(chosen)
    labels: dict[tuple[str, str], dict[int, str]] = {}
    for bits, (entry, rows) in chosen.items():
        for method in dict.fromkeys(label(entry, row) for row in rows):
            for answer in ANSWERS:
                ends = [row[answer][-1] for row in rows if label(entry, row) == method and row.get(answer)]
                if ends:
                    means = (fmean(end[n] for end in ends) for n in range(3))
                    labels.setdefault((method, answer), {})[bits] = ranged(*means)
    texts = [
        [method, ANSWERS[answer], *(cells.get(bits, GAP) for bits in sizes)]
        for (method, answer), cells in labels.items()
    ]
    entries = [chosen[bits][0] for bits in sizes]
    kinds = list(dict.fromkeys(row["landscape"] for bits in sizes for row in chosen[bits][1]))
    evaluations = ", ".join(str(chosen[bits][0].settings["sizes"][str(bits)]["evaluations"]) for bits in sizes)
    seeds = ", ".join(dict.fromkeys(str(entry.settings["seeds"]) for entry in entries))
    note = (
        f"Regret in points of reward (0 is the best scheme) after scoring {evaluations} different schemes: the mean "
        f"over {len(kinds)} kinds of landscape ({', '.join(kinds)}), {seeds} of each, with the mean of their 95 % "
        f"intervals. {'; '.join(dict.fromkeys(entry.machine for entry in entries))}."
    )
    note += "".join(f" {bits} blocks:{own_note(chosen[bits][0])}" for bits in sizes if own_note(chosen[bits][0]))
    return [
        Table(
            "Searches on made-up rewards with a known best scheme",
            ("method", "its answer", *(f"{bits} blocks" for bits in sizes)),
            texts,
            notes=(note,),
            records=tuple(dict.fromkeys(entry.name for entry in entries)),
            left=(1,),
        )
    ]


def widest(entries: Sequence[Entry]) -> dict[int, tuple[Entry, list[dict[str, Any]]]]:
    """For each size, the record with the most kinds of landscape (an ablation has few), and its rows of that size."""
    chosen: dict[int, tuple[Entry, list[dict[str, Any]]]] = {}
    for entry in entries:
        for bits in {row["bits"] for row in entry.metrics}:
            rows = [row for row in entry.metrics if row["bits"] == bits]
            if bits not in chosen or kinds_in(rows) > kinds_in(chosen[bits][1]):
                chosen[bits] = (entry, rows)
    return chosen


def kinds_in(rows: Sequence[dict[str, Any]]) -> int:
    """How many kinds of landscape the rows are of."""
    return len({row["landscape"] for row in rows})
