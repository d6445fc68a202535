"""pareto.json: the front of a search, and its points written as schemes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ean_core.io.file_format import later_version
from ean_core.io.json_file import read_json
from ean_core.scheme import Scheme
from ean_core.search.base import ANSWERS
from ean_core.search.pareto import COSTS, Point, front_of
from ean_core.utils.checked_dataclasses import Count, Positive, checked
from ean_core.utils.errors import EANError

FORMAT = "ean-pareto-1"

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


def front_content(origin: Mapping[str, Any], cost: str, points: Sequence[Point]) -> dict[str, Any]:
    """The content of pareto.json: the numbered points of the front, and the provenance of the schemes.

    Args:
        origin: provenance, as in a scheme.json.
        cost: its kind, a key of `COSTS`.
        points: all scored schemes.
    """
    return {
        "format": FORMAT,
        "cost": cost,
        "unit": COSTS[cost],
        "blocks": list(origin["blocks"]),
        "scored": len(points),
        "points": [{"number": number, **asdict(point)} for number, point in enumerate(front_of(points), start=1)],
        "origin": {key: value for key, value in origin.items() if key not in _NOT_PROVENANCE},
    }


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


def take_point(front: Mapping[str, Any], number: int, output: Path) -> Scheme:
    """Write a point of the front as a scheme.json with the search's provenance.

    Args:
        front: as returned by `read_front`.
        number: of the point, counted from 1.
        output: path of the scheme.json.

    Raises:
        EANError: if there is no such point.
    """
    points = {point["number"]: point for point in front["points"]}
    if number not in points:
        raise EANError(f"the front has no point {number}: choose one from 1 to {len(points)}")
    point = points[number]
    scheme = Scheme.parse(point["bits"], blocks=front["blocks"])
    scheme.save(
        output,
        **front["origin"],
        returned=f"point {number} of the Pareto front",
        validation_accuracy=point["accuracy"],
        **({"predicted_increment": point["cost"]} if front["cost"] == "increment" else {}),
    )
    return scheme
