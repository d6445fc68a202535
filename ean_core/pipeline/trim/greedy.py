"""The order in which attention calls are folded away, and which of the networks on the way is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from torch import nn

from ean_core.deploy.mean_mask import find_calls, fold_masks
from ean_core.pipeline.task import Metric
from ean_core.pipeline.trim.cost import Costs
from ean_core.pipeline.trim.task import VALIDATION
from ean_core.pipeline.trim.worth import Bench, masks_of_network
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import Interval


@dataclass(frozen=True)
class Step:
    """A network on the way from all calls to none.

    Attributes:
        call: that was folded last; None for the network as trained.
        calibrated: whether batch norm was calibrated then, which is kept where it helps on the validation images.
        value: the metric on the validation images.
        drop: how much worse that is than as trained.
        increment: time that the remaining calls add, in percent of the time without attention, by their costs.
    """

    call: str | None
    calibrated: bool
    value: float
    drop: Interval
    increment: float

    def to_record(self) -> dict[str, Any]:
        """The step as plain values, for the record."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """What the trimmed network may lose, or may cost.

    Attributes:
        max_drop: in the metric's unit, on the validation images.
        max_increment: percent of the time without attention.
    """

    max_drop: float | None = None
    max_increment: float | None = None

    def or_default(self, metric: Metric, value: float) -> Limits:
        """These limits, or where none is given 0.3 points of a percentage, or a hundredth of an error's value."""
        if self.max_drop is not None or self.max_increment is not None:
            return self
        return Limits(max_drop=0.3 if metric.unit == "%" else round(value / 100, 3))

    def allow(self, step: Step) -> bool:
        """Whether a network keeps the limits."""
        return (self.max_drop is None or step.drop.value <= self.max_drop) and (
            self.max_increment is None or step.increment <= self.max_increment
        )

    def describe(self, unit: str) -> str:
        """The limits in words, such as "a loss of at most 0.3 points"."""
        parts = []
        if self.max_drop is not None:
            parts.append(f"a loss of at most {self.max_drop:g} {unit}")
        if self.max_increment is not None:
            parts.append(f"attention that adds at most {self.max_increment:g} % to the time")
        return " and ".join(parts)


def fold_greedily(bench: Bench, costs: Costs) -> Iterator[tuple[Step, nn.Module]]:
    """Fold one call after the other, each time the one that leaves the metric best; of equals, the one that costs most.

    Mean masks are those of the network as it then is. After each fold batch norm is calibrated on the training images,
    and that is kept where it helps on the validation images.

    Yields:
        the network as trained, then the network after every step.
    """
    network, folded = bench.task.network, ""
    remaining = [call.name for call in find_calls(network)]
    yield Step(None, False, bench.value(bench.before), bench.drop(bench.before), costs.increment(remaining)), network
    while remaining:
        masks = masks_of_network(bench, network)
        results = {
            call: bench.evaluations.results(
                lambda c=call, n=network, m=masks: fold_masks(n, {c: m[c]}, probe=bench.probe),
                name=f"{folded} {call}".strip(),
                part=VALIDATION,
            )
            for call in remaining
        }
        best = best_call(bench, results, costs)
        network = fold_masks(network, {best: masks[best]}, probe=bench.probe)
        folded, remaining = f"{folded} {best}".strip(), [call for call in remaining if call != best]
        kept, calibrated = results[best], bench.calibrated(network)
        with_calibration = bench.evaluations.results(calibrated, name=f"{folded}*", part=VALIDATION)
        helps = bench.is_better(with_calibration, kept)
        if helps:
            network, kept, folded = calibrated, with_calibration, f"{folded}*"
        yield Step(best, helps, bench.value(kept), bench.drop(kept), costs.increment(remaining)), network


def best_call(bench: Bench, results: Mapping[str, np.ndarray], costs: Costs) -> str:
    """The call without which the metric is best; of equally good ones the most expensive."""
    sign = 1 if bench.task.metric.higher_is_better else -1
    return max(results, key=lambda call: (sign * bench.value(results[call]), costs.calls[call].milliseconds.value))


def choose(path: Sequence[Step], limits: Limits) -> int | None:
    """The index of the step to take: with a limit on the loss the last one that keeps all limits; with a limit on the
    time alone the one that loses least among those that keep it. None if none does."""
    allowed = [index for index, step in enumerate(path) if limits.allow(step)]
    if not allowed:
        return None
    if limits.max_drop is not None:
        return allowed[-1]
    return min(allowed, key=lambda index: path[index].drop.value)


def walk(bench: Bench, costs: Costs, limits: Limits) -> tuple[list[Step], int, nn.Module]:
    """The whole path, the step that the limits choose, and its network.

    Raises:
        EANError: if no network keeps the limits.
    """
    path: list[Step] = []
    chosen: nn.Module | None = None
    for step, network in fold_greedily(bench, costs):
        path.append(step)
        if choose(path, limits) == len(path) - 1:
            chosen = network
    index = choose(path, limits)
    if index is None or chosen is None:
        least = min(path, key=lambda step: step.drop.value)
        wanted = limits.describe(bench.task.metric.difference_unit)
        raise EANError(
            f"no network along the way meets {wanted}: the smallest loss is {least.drop.value:.2f}; give wider limits"
        )
    return path, index, chosen
