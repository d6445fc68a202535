"""Bar charts of time increments (Eq. 9): of whole networks, and of single connections."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ean_core.benchmark.compare import benchmark_name, how_measured
from ean_core.benchmark.latency_table import LatencyTable
from ean_core.benchmark.per_block import block_names, describe
from ean_core.report.plots import bar_chart
from ean_core.utils.intervals import Interval
from ean_core.utils.text import attention_label, network_label


def draw_increments(path: Path, rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Path | None:
    """A bar chart of the increments.

    Args:
        path: a .png file; replaced atomically.
        rows: of `describe_rows`.
        settings: of the record.

    Returns:
        the file; None if there are no increments to draw.
    """
    series = {
        mode: {
            network_label(row["network"]): Interval(**row["timings"][mode]["increment"]).scaled(100)
            for row in rows
            if row["timings"][mode]["increment"]
        }
        for mode in rows[0]["timings"]
    }
    if not any(series.values()):
        return None
    subject = benchmark_name(argparse.Namespace(**settings)).replace("_", " ")
    return bar_chart(
        path,
        series,
        axis="time increment, %, with 95 % intervals",
        title=f"{subject}: inference time over Org's in the same mode",
        note=how_measured(settings),
    )


def draw_table(path: Path, table: LatencyTable) -> Path:
    """A bar chart of what connecting each block adds, with intervals; the .png file is replaced atomically."""
    return bar_chart(
        path,
        {"connection": dict(zip(block_names(table), table.increments, strict=True))},
        axis="percent of Org's time, with 95 % intervals",
        title=f"{table.arch} with {attention_label(table.attention)}: what connecting one block adds",
        note=describe(table),
        number="{:.2f}",
    )
