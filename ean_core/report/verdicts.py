"""The sentences on which trained networks of a record are better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report.results import Record
from ean_core.utils.comparison_sentences import (
    NOT_SEARCHED,
    ONE_SEED,
    compare_seeds,
    corrected_sentences,
    pairs_of,
)
from ean_core.utils.text import TARGET_NAMES, difference_unit

ACCURACY = {"key": "top1", "name": "accuracy", "unit": "%", "higher_is_better": True}
"""The metric of records that name none, those of classifiers."""


def verdicts(record: Record) -> list[str]:
    """A record's sentences, over seeds made anew from its values; [] for a record without sentences.

    Those over images are the stored ones, since the record lacks the images' results; older versions did not correct
    several of them for their number, and these are left out.
    """
    stored = [str(text) for text in record.content.get("comparisons") or ()]
    if not stored:
        return []
    metric = (record.settings.get("metrics") or [ACCURACY])[0]
    values = {name_of(row): row[metric["key"]].get("values", ()) for row in record.metrics}
    counts = {len(results) for results in values.values()}
    if counts <= {1}:
        said = [text for text in stored if text != ONE_SEED]
        return stored if len(said) < 2 or all(" corrected for " in text for text in said) else []
    if len(counts) > 1 or 0 in counts:  # not the same seeds, or values that were not kept
        return []
    comparisons = [
        compare_seeds(
            first,
            second,
            values[first],
            values[second],
            seeds=range(len(values[first])),
            metric=f"test {metric['name']}",
            unit=difference_unit(metric["unit"], metric["name"]),
            higher_is_better=metric["higher_is_better"],
        )
        for first, second in pairs_of(list(values))
    ]
    return corrected_sentences(comparisons)


def name_of(row: Mapping[str, Any]) -> str:
    """What the sentences call the network of a row."""
    if row.get("network"):
        return row["network"]
    methods = row["methods"]
    return TARGET_NAMES[methods[0]] if methods[0] in NOT_SEARCHED else " and ".join(methods)
