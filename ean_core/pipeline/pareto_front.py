"""pareto.json and pareto.png: the scored schemes that no other matches in both accuracy and cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.io.records import read_record
from ean_core.io.scheme_record import read_scheme_file
from ean_core.pipeline.pareto_file import front_content, read_front
from ean_core.search.history import HistoryLine, read_lines
from ean_core.search.pareto import COSTS, points_of
from ean_core.training.run_key import check_keys, key_of
from ean_core.utils.checked_dataclasses import Count, Positive, checked
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
    if table is not None:
        table.require(
            "the latency table",
            blocks=origin["blocks"],
            arch=origin.get("arch"),
            attention=origin.get("attention"),
            options=origin.get("attention_options", {}),
            sharing="stage",
        )
    cost, points = points_of(lines, origin["blocks"], table)
    content = front_content(origin, cost, points)
    path = directory / "pareto.json"
    check_own_front(path, origin)
    write_atomic(path, json.dumps(content, indent=2) + "\n")
    from ean_core.report.plots_analysis import draw_front  # matplotlib takes a second to import

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


def read_scored(directory: Path, lines: Sequence[HistoryLine] | None) -> tuple[dict[str, Any], Sequence[HistoryLine]]:
    """The provenance of a search's or comparison's schemes, and their scores, read from file unless given.

    Raises:
        EANError: if the directory holds no finished search or another run's scores, or no scheme was scored.
    """
    compared = (directory / "comparison.json").exists()
    origin = compared_origin(directory) if compared else read_scheme_file(directory / "scheme.json")
    source = directory / ("scores.jsonl" if compared else "history.jsonl")
    if lines is None:
        lines, claimed = read_lines(source), directory if compared else directory / "search"
        check_keys((line.run for line in lines), key_of(claimed), file=source)
    if not lines:
        raise EANError(f"{source} contains no scored schemes: run the search first")
    return origin, lines


@dataclass(frozen=True)
class ComparedModel:
    """The network in a comparison's recipe."""

    arch: str
    attention: str | None
    attention_options: Mapping[str, Any]


@dataclass(frozen=True)
class ComparedRecipe:
    """The recipe in a comparison.json, as far as a front needs it."""

    name: str
    model: ComparedModel
    seed: Count


@dataclass(frozen=True)
class ComparisonSettings:
    """The settings in a comparison.json, as far as a front needs them."""

    recipe: ComparedRecipe
    blocks: tuple[Positive, ...]
    data: Mapping[str, Any]
    methods: Mapping[str, Any]
    supernet_sha256: str


def compared_origin(directory: Path) -> dict[str, Any]:
    """Provenance as in a scheme.json, for the shared scores of a comparison.

    Raises:
        EANError: if comparison.json is not such a record.
    """
    path = directory / "comparison.json"
    settings = read_record(path)["settings"]
    checked(ComparisonSettings, settings, where=f"record {path}: settings", advice="run the comparison again")
    recipe = settings["recipe"]
    return {
        "blocks": settings["blocks"],
        **{name: recipe["model"][name] for name in ("arch", "attention", "attention_options")},
        "data": settings["data"]["name"],
        "method": ", ".join(settings["methods"]),
        "seed": recipe["seed"],
        "supernet_sha256": settings["supernet_sha256"],
        "recipe": recipe["name"],
    }
