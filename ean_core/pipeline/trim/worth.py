"""What attention is worth to a trained network: call by call, and how much of it a constant scale would do."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from ean_core.deploy.mean_mask import drop_calls, find_calls, fold_masks, mean_masks
from ean_core.pipeline.trim.evaluations import Evaluations
from ean_core.pipeline.trim.metric import metric_drop, metric_value
from ean_core.pipeline.trim.task import VALIDATION, TrimTask
from ean_core.supernet.bn_calibration import calibrate_bn
from ean_core.utils.intervals import Interval

AS_TRAINED = "as trained"


@dataclass(frozen=True)
class Bench:
    """A trained network on the validation images: evaluates changed copies of it and compares them with it.

    Attributes:
        task: with the network and its images.
        evaluations: of the run.
        batches: training images for mean masks and batch norm calibration, normalized (B, C, H, W) each.
    """

    task: TrimTask
    evaluations: Evaluations
    batches: Sequence[Tensor]

    @property
    def probe(self) -> Tensor:
        """Two images on which folding is checked."""
        return self.batches[0][:2]

    @cached_property
    def before(self) -> np.ndarray:
        """The validation results of the network as trained."""
        return self.evaluations.results(self.task.network, name=AS_TRAINED, part=VALIDATION)

    def value(self, results: np.ndarray) -> float:
        """The task's metric of the images' results."""
        return metric_value(results, self.task.metric)

    def drop(self, results: np.ndarray) -> Interval:
        """How much worse than as trained."""
        return metric_drop(self.before, results, self.task.metric)

    def is_better(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether one network's metric is strictly better than another's."""
        difference = self.value(one) - self.value(other)
        return difference > 0 if self.task.metric.higher_is_better else difference < 0

    def calibrated(self, network: nn.Module) -> nn.Module:
        """A copy with batch norm calibrated on the training images."""
        network = copy.deepcopy(network)
        calibrate_bn(network, self.batches)
        return network

    def measure(self, network: Any, name: str) -> dict[str, Any]:
        """Value and drop of a network (or of what a function makes), for the record."""
        results = self.evaluations.results(network, name=name, part=VALIDATION)
        return {"value": self.value(results), "drop": asdict(self.drop(results))}


def worth_of_calls(bench: Bench, masks: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """For each call, the metric with its mean mask in its place, and with nothing in its place (a mask of 1).

    Returns:
        call -> "mean_mask" and "dropped", each with "value" and "drop".
    """
    network = bench.task.network
    worth = {}
    for call in find_calls(network):
        name = call.name
        worth[name] = {
            "mean_mask": bench.measure(lambda n=name: fold_masks(network, {n: masks[n]}, probe=bench.probe), name),
            "dropped": bench.measure(lambda n=name: drop_calls(network, [n]), f"without {name}"),
        }
    return worth


def worth_of_all(bench: Bench, masks: Mapping[str, Tensor]) -> dict[str, Any]:
    """All calls at once: dropped, or as mean masks, each as it is and with batch norm calibrated.

    Returns:
        those four, each with "value" and "drop"; and the attention's worth, in the metric's unit: "total", what is lost
        when it is dropped; "static", the part of it that mean masks keep, which fold away; "dynamic", the rest, which
        only attention that looks at each image does.
    """
    network = bench.task.network

    def folded() -> nn.Module:
        return fold_masks(network, masks, probe=bench.probe)

    def dropped() -> nn.Module:
        return drop_calls(network, masks)

    kept, gone = "all mean masks", "all dropped"
    rows = {
        "mean_masks": bench.measure(folded, kept),
        "mean_masks_calibrated": bench.measure(lambda: bench.calibrated(folded()), f"{kept}, calibrated"),
        "dropped": bench.measure(dropped, gone),
        "dropped_calibrated": bench.measure(lambda: bench.calibrated(dropped()), f"{gone}, calibrated"),
    }
    results = {name: bench.evaluations.known[VALIDATION, name] for name in (kept, gone)}
    static = metric_drop(results[kept], results[gone], bench.task.metric)
    worth = {"total": rows["dropped"]["drop"], "static": asdict(static), "dynamic": rows["mean_masks"]["drop"]}
    return {**rows, "worth": worth}


def masks_of_network(bench: Bench, network: nn.Module | None = None) -> dict[str, Tensor]:
    """The mean masks of the network as trained, or of another one, over the training images."""
    return mean_masks(bench.task.network if network is None else network, bench.batches)
