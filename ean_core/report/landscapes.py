"""Searches on synthetic reward landscapes, whose best scheme is known: the regret at the end of the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from ean_core.report.elements import GAP, Element, Gap, Section, Table
from ean_core.report.formatting import ranged, sentence
from ean_core.report.labels import ANSWER_LABELS, full_name, label_of
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.titles import record_title

KINDS = ("search-benchmark",)
COMMAND = "python benchmarks/search_landscapes.py"


def section(results: Results) -> Section:
    """The summary, then a table and a plot for every record."""
    return Section(
        "synthetic-rewards",
        "Searches on synthetic rewards with a known best scheme",
        [*summary(results), *results.elements(KINDS, elements_of)] or [Gap("searches on synthetic rewards", COMMAND)],
        "No training is needed here, and the best scheme is known. All methods have the same limits on schemes scored "
        "and proposed; one that proposes the same schemes again ends with fewer scored.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The table of a record, and its plot."""
    del results
    return [
        full_table(record),
        *pictures_of(record, "regret against the number of schemes scored, a panel per landscape"),
    ]


def full_table(record: Record) -> Table:
    """A row per method and answer, a column per landscape and size."""
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    scored: dict[str, list[Mapping[str, Any]]] = {}
    for row in record.metrics:
        column = f"{row['landscape']}, {row['bits']} blocks"
        columns[column] = None
        for answer, answer_text in ANSWER_LABELS.items():
            if row.get(answer):
                label = f"{method_label(record, row)}, {answer_text}"
                cells.setdefault(label, {})[column] = ranged(*row[answer][-1])
                scored.setdefault(label, []).append(row)
    rows = [
        [label, *(row.get(column, GAP) for column in columns), mean_scored(scored[label])]
        for label, row in cells.items()
    ]
    return Table(
        f"Regret at the end, {record_title(record)}",
        ("method, its answer", *columns, "schemes scored"),
        rows,
        notes=(setup_note(record),),
        records=(record.name,),
    )


def mean_scored(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many different schemes a method scored, on average over rows; a gap where that was not recorded."""
    counts = [row["mean_evaluations"] for row in rows if row.get("mean_evaluations") is not None]
    return f"{fmean(counts):,.0f}" if counts else GAP


def method_label(record: Record, row: Mapping[str, Any]) -> str:
    """The method of a row with its options, which the record names in short."""
    return label_of(full_name(**record.settings["methods"][row["method"]]))


def setup_note(record: Record) -> str:
    """The note of a table: what its figures are of."""
    settings = record.settings
    budgets = ", ".join(f"{size['evaluations']} for {bits} blocks" for bits, size in settings["sizes"].items())
    return (
        f"Regret in points of reward (0 is the best scheme), mean and 95 % interval over {settings['seeds']} "
        f"landscapes of a kind; a search ends with the step that reaches its limit of different schemes scored "
        f"({budgets}), or half as many again proposed. {record.machine}."
        f"{own_note(record)}"
    )


def own_note(record: Record) -> str:
    """What a record says of itself, behind a blank; empty where it says nothing."""
    return f" {sentence(note)}" if (note := record.content.get("note")) else ""


def summary(results: Results) -> list[Element]:
    """One table for all sizes: a row per method and answer, the mean over the kinds of landscape."""
    chosen = widest(results.of_kind(*KINDS))
    if not chosen:
        return []
    sizes = sorted(chosen)
    labels: dict[tuple[str, str], dict[int, str]] = {}
    scored: dict[tuple[str, str], dict[int, str]] = {}
    for bits, (record, rows) in chosen.items():
        for method in dict.fromkeys(method_label(record, row) for row in rows):
            for answer in ANSWER_LABELS:
                of_method = [row for row in rows if method_label(record, row) == method and row.get(answer)]
                if of_method:
                    means = (fmean(row[answer][-1][n] for row in of_method) for n in range(3))
                    labels.setdefault((method, answer), {})[bits] = ranged(*means)
                    scored.setdefault((method, answer), {})[bits] = mean_scored(of_method)
    rows = [
        [
            method,
            ANSWER_LABELS[answer],
            *(cells.get(bits, GAP) for bits in sizes),
            " / ".join(scored[method, answer].get(bits, GAP) for bits in sizes),
        ]
        for (method, answer), cells in labels.items()
    ]
    records = [chosen[bits][0] for bits in sizes]
    kinds = list(dict.fromkeys(row["landscape"] for bits in sizes for row in chosen[bits][1]))
    evaluations = ", ".join(str(chosen[bits][0].settings["sizes"][str(bits)]["evaluations"]) for bits in sizes)
    seeds = ", ".join(dict.fromkeys(str(record.settings["seeds"]) for record in records))
    note = (
        f"Regret in points of reward (0 is the best scheme) at the end of a budget of {evaluations} different schemes: "
        f"the mean over {len(kinds)} kinds of landscape ({', '.join(kinds)}), {seeds} of each, with the mean of their "
        f"95 % intervals. {'; '.join(dict.fromkeys(record.machine for record in records))}."
    )
    note += "".join(f" {bits} blocks:{own_note(chosen[bits][0])}" for bits in sizes if own_note(chosen[bits][0]))
    return [
        Table(
            "Searches on synthetic rewards with a known best scheme",
            ("method", "its answer", *(f"{bits} blocks" for bits in sizes), "schemes scored"),
            rows,
            notes=(note,),
            records=tuple(dict.fromkeys(record.name for record in records)),
            left=(1,),
        )
    ]


def widest(records: Sequence[Record]) -> dict[int, tuple[Record, list[dict[str, Any]]]]:
    """For each size, the record with the most kinds of landscape (an ablation has few), and its rows of that size."""
    chosen: dict[int, tuple[Record, list[dict[str, Any]]]] = {}
    for record in records:
        for bits in {row["bits"] for row in record.metrics}:
            rows = [row for row in record.metrics if row["bits"] == bits]
            if bits not in chosen or landscapes_in(rows) > landscapes_in(chosen[bits][1]):
                chosen[bits] = (record, rows)
    return chosen


def landscapes_in(rows: Sequence[dict[str, Any]]) -> int:
    """Number of different landscapes among the rows."""
    return len({row["landscape"] for row in rows})
