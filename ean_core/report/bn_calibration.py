"""What BN calibration does to the scores of paths: with running and with re-estimated batch-norm statistics."""

from __future__ import annotations

from statistics import fmean, stdev

from ean_core.report.elements import Element, Gap, Section, Table
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.titles import record_title

KINDS = ("batch-norm",)
COMMAND = "python benchmarks/batch_norm.py"


def section(results: Results) -> Section:
    """A table for every record of paths scored with different batch-norm statistics."""
    return Section(
        "batch-norm",
        "What a path's score is made of",
        results.elements(KINDS, elements_of) or [Gap("scores of paths", COMMAND)],
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The table of a record, and its pictures."""
    del results
    rows = []
    for way, accuracy in record.metrics["accuracy"].items():
        full, empty, *drawn = accuracy
        figures = [f"{value:.2f}" for value in (full, empty, min(drawn), max(drawn), fmean(drawn), stdev(drawn))]
        rows.append([f"{way} statistics", *figures])
    settings = record.settings
    note = (
        f"Validation accuracy in percent of {len(drawn)} random schemes, the full and the empty one; supernet of "
        f"{settings['recipe']['name']}, {settings['validation_images']:,} validation images, standard error of one "
        f"score {record.metrics['standard_error']:.2f}; {record.machine}."
    )
    heads = ("scored with", "full", "empty", "least", "most", "mean", "deviation")
    title = f"Scores of paths with and without BN calibration: {record_title(record)}"
    return [Table(title, heads, rows, notes=(note,), records=(record.name,)), *pictures_of(record)]
