"""A table of whatever figures a record holds, for kinds of records that no other module has a table for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ean_core.report.elements import GAP, Element, Table, Text
from ean_core.report.formatting import recorded_interval, recorded_mean
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.titles import record_title
from ean_core.utils.intervals import FEWEST_ROUNDS

MAX_ROWS, MAX_COLUMNS = 60, 10
HEADS = {
    "peak_mib": "peak memory, MiB",
    "times_as_fast": "speed-up",
    "times_as_fast_median_turn": "speed-up, median turn",
    "times_as_fast_whole_stretch": "speed-up, whole run",
    "images_per_second": "images/s",
    "megapixels_per_second": "megapixels/s",
    "schemes_per_second": "schemes/s",
    "largest_difference_points": "largest difference, points",
}
"""Names of figures in records -> heads of columns; others are the words of the name."""


def elements_of(results: Results, record: Record) -> list[Element]:
    """Its figures as far as they fit a table, else its name; then its pictures."""
    del results
    rows = rows_of(record.metrics)
    if not rows:
        return [
            Text(f"Its figures fit no table. {record.machine}.", record_title(record), (record.name,)),
            *pictures_of(record),
        ]
    columns = list(dict.fromkeys(key for row in rows for key in row))[:MAX_COLUMNS]
    texts = {n for n, key in enumerate(columns) if any(isinstance(row.get(key), str) for row in rows)}
    note = f"{record.machine}."
    if len(rows) > MAX_ROWS:
        note = f"The first {MAX_ROWS} of {len(rows)} rows. {note}"
    return [
        Table(
            record_title(record),
            tuple(map(head_of, columns)),
            [[text_of(row.get(key)) for key in columns] for row in rows[:MAX_ROWS]],
            notes=(note,),
            records=(record.name,),
            left=tuple(sorted(texts - {0})),
        ),
        *pictures_of(record),
    ]


def rows_of(metrics: Any) -> list[dict[str, Any]]:
    """The rows of a list of records, or of one record, with those values that fit a cell; the first names the row."""
    if isinstance(metrics, Mapping):
        flat = {key: value for key, value in metrics.items() if fits(value)}
        nested = {key: value for key, value in metrics.items() if isinstance(value, Mapping) and not fits(value)}
        if nested and not flat and all(any(map(fits, value.values())) for value in nested.values()):
            return [{"name": key, **only_fitting(value)} for key, value in nested.items()]
        if nested and not flat:  # a level deeper, such as work -> number of processes -> figures
            deeper = [(key, name, row) for key, rows in nested.items() for name, row in rows.items()]
            if all(isinstance(row, Mapping) for *_, row in deeper):
                return [{"name": f"{key}, {name}", **only_fitting(row)} for key, name, row in deeper]
        return [{"figure": head_of(key), "value": value} for key, value in flat.items()]
    if not isinstance(metrics, Sequence) or isinstance(metrics, str):
        return []
    rows = [only_fitting(row) for row in metrics if isinstance(row, Mapping)]
    return [row for row in rows if row]


def only_fitting(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row that fit a cell, texts first."""
    kept = {key: value for key, value in without_few_rounds(row).items() if fits(value)}
    return dict(sorted(kept.items(), key=lambda item: not isinstance(item[1], str)))


def without_few_rounds(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row without the ends of its intervals if they are over fewer than `FEWEST_ROUNDS`."""
    seconds = row.get("seconds")
    rounds = list(seconds.values()) if isinstance(seconds, Mapping) else [seconds]
    if not any(isinstance(times, Sequence) and len(times) < FEWEST_ROUNDS for times in rounds):
        return row
    intervals = {key: value for key, value in row.items() if isinstance(value, Mapping) and "low" in value}
    return {**row, **{key: {**value, "low": None, "high": None} for key, value in intervals.items()}}


def head_of(key: str) -> str:
    """The head of a column of figures with this name in a record."""
    return HEADS.get(key, key.replace("_", " "))


def fits(value: Any) -> bool:
    """Whether a value is a number, a short text, an interval or a mean with its spread."""
    if isinstance(value, Mapping):
        return {"value", "low", "high"} <= set(value) or {"mean", "std"} <= set(value)
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= 80)


def text_of(value: Any) -> str:
    """A value that `fits`, as the text of a cell."""
    if isinstance(value, Mapping):
        return recorded_interval(value, 2) if "value" in value else recorded_mean(value)
    if value is None:
        return GAP
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else value
