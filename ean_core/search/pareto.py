"""The Pareto front of a search: the scored schemes that no other scheme dominates in both accuracy and cost.

The accuracies are validation scores on the supernet. The front selects the best of many noisy scores, so its points
look better than they are: retrain the relevant ones from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.scheme import Scheme
from ean_core.search.history import HistoryLine

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
