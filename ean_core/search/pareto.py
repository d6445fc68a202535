"""The Pareto front of a search: the scored schemes that no other scheme dominates in both accuracy and cost.

The accuracies are validation scores on the supernet. The front selects the best of many noisy scores, so its points
look better than they are: retrain the relevant ones from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.io.file_format import later_version
from ean_core.io.json_file import read_json
from ean_core.io.records import read_record
from ean_core.io.scheme_record import read_scheme_file
from ean_core.scheme import Scheme
from ean_core.search.base import ANSWERS
from ean_core.search.history import HistoryLine, read_lines
from ean_core.utils.checked_dataclasses import Count, Positive, checked
from ean_core.utils.errors import EANError

FORMAT = "ean-pareto-1"
COSTS = {"increment": "predicted time increment over Org, %", "connections": "connections"}
"""Kinds of cost, with the labels of their axes."""


@dataclass(frozen=True)
class Point:
    """A scored scheme, as a point of accuracy against cost.

    Attributes:
        bits: without separators.
        accuracy: validation accuracy in percent.
        cost: predicted percent of Org's time that it adds, or its number of connections.
        connections: number of connected blocks.
    """

    bits: str
    accuracy: float
    cost: float
    connections: int


def front_of(points: Sequence[Point]) -> list[Point]:
    """The points that no other point dominates, from the cheapest to the most expensive.

    A point dominates another if it is at least as good in both cost and accuracy and better in one of them. Equal
    points do not dominate each other, so all of them are returned.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy, point.bits)):
        best = front[-1] if front else None
        if best is None or point.accuracy > best.accuracy or (point.cost, point.accuracy) == (best.cost, best.accuracy):
            front.append(point)
    return front


def points_of(
    lines: Sequence[HistoryLine], blocks: Sequence[int], table: LatencyTable | None = None
) -> tuple[str, list[Point]]:
    """The cost and accuracy of every distinct scored scheme.

    Args:
        lines: of history.jsonl.
        blocks: per stage.
        table: predicts the cost; None for the cost that the search used, the number of connections if it had no
            table.

    Returns:
        the kind of cost, a key of `COSTS`, and the points in the order in which they were scored.
    """
    timed = table is not None or all(line.increment is not None for line in lines)
    points = {}
    for line in lines:
        scheme = Scheme.parse(line.bits, blocks=blocks)
        cost = float(scheme.connections)
        if table is not None:
            cost = table.predicted(scheme)
        elif timed and line.increment is not None:
            cost = line.increment
        points[scheme.text] = Point(scheme.text, float(line.accuracy), cost, scheme.connections)
    return "increment" if timed else "connections", list(points.values())


def front_content(
    origin: Mapping[str, Any], lines: Sequence[HistoryLine], table: LatencyTable | None = None
) -> dict[str, Any]:
    """The content of pareto.json: the numbered points of the front, and the provenance of the schemes.

    Args:
        origin: provenance, from `read_scored`.
        lines: of the history.
        table: as for `points_of`.

    Raises:
        EANError: if the table was measured for another network.
    """
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
    return {
        "format": FORMAT,
        "cost": cost,
        "unit": COSTS[cost],
        "blocks": list(origin["blocks"]),
        "scored": len(points),
        "points": [{"number": number, **asdict(point)} for number, point in enumerate(front_of(points), start=1)],
        "origin": {key: value for key, value in origin.items() if key not in _NOT_PROVENANCE},
    }


def read_scored(directory: Path, lines: Sequence[HistoryLine] | None) -> tuple[dict[str, Any], Sequence[HistoryLine]]:
    """The provenance of a search's or comparison's schemes, and their scores, read from file unless given.

    Raises:
        EANError: if the directory holds no finished search, or no scheme was scored.
    """
    compared = (directory / "comparison.json").exists()
    origin = compared_origin(directory) if compared else read_scheme_file(directory / "scheme.json")
    source = directory / ("scores.jsonl" if compared else "history.jsonl")
    lines = read_lines(source) if lines is None else lines
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


_NOT_PROVENANCE = frozenset(
    {"format", "blocks", "stages", "connections", "sparsity", "returned", *ANSWERS}
    | {"validation_accuracy", "predicted_increment"}  # in a scheme.json written by `take_point`
)


@dataclass(frozen=True)
class FrontPoint:
    """A point of the front, as pareto.json holds it."""

    number: Positive
    bits: str
    accuracy: float
    cost: float
    connections: Count


@dataclass(frozen=True)
class FrontFile:
    """The checked fields of a pareto.json."""

    cost: Literal["connections", "increment"]
    blocks: tuple[Positive, ...]
    points: tuple[FrontPoint, ...]
    origin: Mapping[str, Any]


def read_front(path: Path) -> dict[str, Any]:
    """Read a pareto.json, with the content of `front_content`.

    Raises:
        EANError: if it is missing or not a Pareto front.
    """
    advice = "give the work directory of a search"
    content = read_json(path, what="front", advice=advice)
    if isinstance(content, dict) and (error := later_version(path, content.get("format"), FORMAT)):
        raise error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not content.get("points"):
        raise EANError(f"{path} is not a Pareto front of this project (format {FORMAT!r})")
    checked(FrontFile, content, where=f"front {path}", advice=advice)
    return content


def take_point(front: Mapping[str, Any], number: int, blocks: Sequence[int], output: Path) -> Scheme:
    """Write a point of the front as a scheme.json with the search's provenance.

    Args:
        front: as returned by `read_front`.
        number: of the point, counted from 1.
        blocks: per stage.
        output: path of the scheme.json.

    Raises:
        EANError: if there is no such point.
    """
    points = {point["number"]: point for point in front["points"]}
    if number not in points:
        raise EANError(f"the front has no point {number}: choose one from 1 to {len(points)}")
    point = points[number]
    scheme = Scheme.parse(point["bits"], blocks=blocks)
    scheme.save(
        output,
        **front["origin"],
        returned=f"point {number} of the Pareto front",
        validation_accuracy=point["accuracy"],
        **({"predicted_increment": point["cost"]} if front["cost"] == "increment" else {}),
    )
    return scheme
