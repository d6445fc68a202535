"""pareto.json and pareto.png: the scored schemes that no other matches in both accuracy and cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.search.history import HistoryLine
from ean_core.search.pareto import COSTS, front_content, points_of, read_scored
from ean_core.utils.files import write_atomic


def write_front(
    directory: Path, lines: Sequence[HistoryLine] | None = None, *, table: LatencyTable | None = None
) -> Path:
    """Write the front of a finished search, or of a comparison of searches, and draw it.

    Args:
        directory: holds scheme.json, and history.jsonl if `lines` are not given; or comparison.json and scores.jsonl.
        lines: of the history.
        table: what the cost is predicted from; None for what the search itself used, the number of connections if it
            had no table.

    Returns:
        pareto.json.

    Raises:
        EANError: if the directory holds no finished search, no scheme is scored, or the table is of another network.
    """
    origin, lines = read_scored(directory, lines)
    content = front_content(origin, lines, table)
    path = directory / "pareto.json"
    write_atomic(path, json.dumps(content, indent=2) + "\n")
    from ean_core.report.plots_analysis import draw_front  # matplotlib takes a second to import

    cost, points = points_of(lines, origin["blocks"], table)
    front = content["points"]
    name = origin.get("recipe", directory.resolve().name)
    draw_front(
        path.with_suffix(".png"),
        [(point.cost, point.accuracy) for point in points],
        [(point["cost"], point["accuracy"]) for point in front],
        axis=COSTS[cost],
        whole=cost == "connections",
        note=f"{name}: {len(points)} schemes scored with the supernet's shared weights, {len(front)} on the front, "
        "numbered as in pareto.json; the accuracies of networks trained from scratch differ",
    )
    return path
