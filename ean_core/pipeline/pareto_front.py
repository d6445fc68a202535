"""pareto.json and pareto.png: the scored schemes that no other matches in both accuracy and cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.search.history import HistoryLine
from ean_core.search.pareto import COSTS, front_content, points_of, read_front, read_scored
from ean_core.utils.errors import EANError
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
        EANError: if the directory holds no finished search or another one's front, no scheme is scored, or the table is
            of another network.
    """
    origin, lines = read_scored(directory, lines)
    content = front_content(origin, lines, table)
    path = directory / "pareto.json"
    check_own_front(path, origin)
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


def check_own_front(path: Path, origin: Mapping[str, Any]) -> None:
    """Refuse to replace the front of a search on another supernet; a damaged one is made again.

    Raises:
        EANError: for such a front.
    """
    try:
        earlier = read_front(path)["origin"].get("supernet_sha256")
    except EANError:
        return
    if None not in (earlier, now := origin.get("supernet_sha256")) and earlier != now:
        raise EANError(f"{path} is the front of a search on another supernet: give it another name or folder")
