"""Figure 4 as the paper made it: groups of schemes, by their scores on the supernet and trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.pipeline.correlation.selection import SAME_SIZE, SEARCHED
from ean_core.pipeline.task import Metric
from ean_core.utils.screen import make_table, print_table, say

Rows = Sequence[Mapping[str, Any]]
"""Of a study's record: "bits", "connections", "scores", "groups", and the metric's spread over the seeds or None."""


def rows_by_group(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of every group; none for records of studies without groups."""
    names = dict.fromkeys(name for row in rows for name in row.get("groups", ()))
    return {name: [row for row in rows if name in row["groups"]] for name in names}


def print_groups(rows: Rows, *, score: Metric, metric: Metric) -> None:
    """Print a row per group, and where the searched schemes stand among random ones of their size.

    Args:
        rows: of the study's record.
        score: what schemes were scored by.
        metric: what trained networks were tested by.
    """
    groups = rows_by_group(rows)
    if len(groups) < 2:
        return
    ways = list(rows[0]["scores"])
    scored = [f"{score.heading}, BN {way}" for way in ways]
    heads = ["group", "trained", "connections", *scored, f"test {metric.heading}"]
    table = make_table("groups of schemes: mean and standard deviation over the schemes", heads)
    for name, members in groups.items():
        trained = [row[metric.key]["mean"] for row in members if row[metric.key]]
        scores = [mean_deviation([row["scores"][way] for row in members]) for way in ways]
        counts = mean_deviation([row["connections"] for row in members])
        table.add_row(name, f"{len(trained)} of {len(members)}", counts, *scores, mean_deviation(trained))
    print_table(table)
    say(*searched_sentences(rows, metric))


def by_seed(row: Mapping[str, Any], metric: Metric) -> dict[int, float]:
    """Seed -> test result; records of older versions do not name the seeds, which they trained in order."""
    values = row[metric.key]["values"] if row[metric.key] else []
    return dict(zip(row.get("seeds") or range(len(values)), values, strict=True))


def mean_deviation(values: Sequence[float]) -> str:
    """`62.10 ± 0.31`, the number alone for one, a dash for none."""
    if not values:
        return "-"
    return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")


def searched_sentences(rows: Rows, metric: Metric) -> list[str]:
    """For each trained searched scheme, how many of the random ones with as many connections it surpasses.

    Two schemes are compared by the seeds that both were trained with.
    """
    groups, sentences, sign = rows_by_group(rows), [], 1 if metric.higher_is_better else -1
    for row in groups.get(SEARCHED, []):
        own = by_seed(row, metric)
        pairs = [
            ([own[seed] for seed in shared], [values[seed] for seed in shared])
            for one in groups.get(SAME_SIZE, [])
            if one["connections"] == row["connections"]
            and (shared := own.keys() & (values := by_seed(one, metric)).keys())
        ]
        if pairs:
            value, peers = np.mean(list(own.values())), [np.mean(theirs) for _, theirs in pairs]
            better = sum(sign * np.mean(ours) > sign * np.mean(theirs) for ours, theirs in pairs)
            sentences.append(
                f"searched {row['bits']}: test {metric.name} {value:.2f} {metric.unit}, better than {better} of "
                f"{len(peers)} random schemes with {row['connections']} connections ({min(peers):.2f} to "
                f"{max(peers):.2f})"
            )
    return sentences


def draw_groups(path: Path, record: Mapping[str, Any], *, score: Metric, metric: Metric) -> Path:
    """Draw the groups' scores on the supernet and their results from scratch side by side.

    Args:
        path: a .png file; replaced atomically.
        record: of kind "correlation", with groups of which schemes are trained.
        score, metric: as `print_groups` takes them.
    """
    from ean_core.report.plots_analysis import Strips, strip_panels  # matplotlib takes a second to import

    groups = rows_by_group(record["metrics"]["schemes"])
    ways = list(record["metrics"]["schemes"][0]["scores"])
    panels = [
        Strips(
            f"scored on the supernet, batch norm {way}",
            f"validation {score.axis}",
            {name: [row["scores"][way] for row in members] for name, members in groups.items()},
        )
        for way in ways
    ]
    results = {
        name: [row[metric.key]["mean"] for row in members if row[metric.key]] for name, members in groups.items()
    }
    panels.append(Strips("each scheme trained from scratch", f"test {metric.axis}", results))
    note = (
        f"{record['settings']['recipe']['name']}; a dot per scheme (from scratch: its mean over the seeds), bars: means"
    )
    return strip_panels(path, panels, title="Random and searched schemes (as Fig. 4)", note=note)
