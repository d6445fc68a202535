"""Section 4.3: does a scheme's score on the supernet say how good it is when trained from scratch?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from ean_core.report.elements import GAP, Element, Gap, Section, Table
from ean_core.report.formatting import recorded_interval, sentence
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.titles import DATA, record_title
from ean_core.report.typed_rows import RunSettings
from ean_core.utils.intervals import fisher_interval
from ean_core.utils.text import attention_label, how_many

KINDS = ("correlation",)
COMMAND = "python tools/correlation.py CONFIG --schemes 12"
FIGURE4 = "figure4"
"""Ends the name of a study's picture of groups."""
COEFFICIENTS = {"pearson": "Pearson's r", "spearman": "Spearman's rho", "kendall": "Kendall's tau"}


def section(results: Results) -> Section:
    """A table and a scatter plot for every study."""
    paper = results.paper["supernet_correlation"]
    return Section(
        "correlation",
        "Section 4.3: is the supernet's score any good?",
        results.elements(KINDS, elements_of)
        or [Gap("correlation of scores on the supernet with accuracies from scratch", COMMAND)],
        f"The paper gives a Pearson's r of {paper['pearson']} over {paper['samples']} schemes ({paper['setting']}), "
        "without an interval.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """A study's table of coefficients, and its pictures."""
    figure4 = tuple(path for path in record.pictures if path.stem.endswith(FIGURE4))
    others = dataclasses.replace(record, pictures=tuple(path for path in record.pictures if path not in figure4))
    return [
        table(record, results),
        *pictures_of(others, "accuracy from scratch against the score, a dot per scheme"),
        *pictures_of(
            dataclasses.replace(record, pictures=figure4),
            "groups of schemes by their scores on the supernet and trained from scratch, as Figure 4",
        ),
    ]


def table(record: Record, results: Results) -> Table:
    """The coefficients with their intervals, a row for each way of scoring."""
    run, settings, metrics = RunSettings.of(record), record.settings, record.metrics
    trained = metrics["trained"]
    rows = [
        coefficient_row(score_label(way), with_fisher(values, pairs=trained))
        for way, values in metrics.get("correlations", {}).items()
    ]
    if metrics.get("difference"):
        rows.append(coefficient_row("calibrated minus running", metrics["difference"]))
    ceiling = metrics.get("ceiling") or {}
    if ceiling:
        rows.append(["a score without error, at most", recorded_interval(ceiling, 2), GAP, GAP])
    # Older records have a bootstrap there.
    jackknife = ", of a score without error by a jackknife" if ceiling.get("interval") == "jackknife" else ""
    if run.data == "cifar100":  # the paper's
        paper = results.paper["supernet_correlation"]
        rows.append([f"paper ({paper['samples']} schemes)", f"{paper['pearson']:.2f}", GAP, GAP])
    how = f"95 % intervals by Fisher's z, of the difference by a bootstrap over schemes{jackknife}"
    note = (
        f"Ours: {metrics['trained']} of {len(metrics['schemes'])} schemes trained from scratch, "
        f"{run.arch}, {attention_label(run.attention)}, {DATA.get(run.data, run.data)}, "
        f"{run.train:,} training, {settings['images']['validation']:,} validation and {run.test:,} test images, "
        f"{how_many(run.epochs, 'epoch')}, {how_many(len(settings['seeds']), 'seed')} each; {how}; "
        f"{record.machine}. {spread_sentence(metrics.get('spread', {}))}"
    )
    return Table(
        f"Correlation of the score with the accuracy from scratch, {record_title(record)}",
        ("score", *COEFFICIENTS.values()),
        rows,
        notes=(note.strip(),),
        records=(record.name,),
    )


def with_fisher(values: Mapping[str, Mapping[str, Any]], *, pairs: int) -> dict[str, dict[str, float | None]]:
    """Coefficients with Fisher's intervals; older records hold those of a bootstrap, which are too narrow."""
    return {
        name: fisher_interval(name, math.nan if value["value"] is None else value["value"], pairs).to_record()
        for name, value in values.items()
    }


def coefficient_row(label: str, values: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """A label, and each of the `COEFFICIENTS` with its interval."""
    return [label, *(recorded_interval(values.get(key), 2) for key in COEFFICIENTS)]


def score_label(way: str) -> str:
    """What a row calls a way of scoring schemes."""
    return "number of connections" if way == "connections" else f"supernet, batch norm {way}"


def spread_sentence(spreads: Mapping[str, Mapping[str, float]]) -> str:
    """How far the scores lie apart, and how uncertain a single one is."""
    names = {"trained": "accuracies from scratch"}
    parts = [
        f"{names.get(way, f'scores with {way} statistics')} deviate by {spread['deviation']:.2f} points "
        f"(standard error of one {spread['standard_error']:.2f})"
        for way, spread in spreads.items()
    ]
    deviation = spreads.get("trained", {}).get("seed_deviation")
    if deviation is not None:
        parts.append(f"accuracies of one scheme deviate by {deviation:.2f} points between seeds")
    return sentence("; ".join(parts))
