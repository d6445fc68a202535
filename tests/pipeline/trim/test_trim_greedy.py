"""Folding in a case whose order is known, the network that the limits choose, and going on after an interruption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ean_core import EANError
from ean_core.deploy.mean_mask import constant_masks, find_calls
from ean_core.pipeline.task import Metric
from ean_core.pipeline.trim.cost import CallCost, Costs
from ean_core.pipeline.trim.evaluations import Evaluations
from ean_core.pipeline.trim.greedy import Limits, Step, choose, fold_greedily, walk
from ean_core.pipeline.trim.task import Parts
from ean_core.pipeline.trim.worth import Bench, masks_of_network, worth_of_all, worth_of_calls
from ean_core.utils.intervals import Interval
from tests.helpers.tiny_networks import difference, images, trained

MISSED = {"layer1.0": 5.0, "layer1.2": 1.0, "layer2.1": 3.0, "layer3.0": 1.0}
"""What each call is worth, in people: the first to go are the two that are worth least."""


class MadeUpTask:
    """A counter whose error is known from the calls that are left; nothing is said of the images."""

    name = "counting by hand"
    metric = Metric("mae", "MAE", higher_is_better=False)
    parts = Parts(training=2, validation=5, test=0, note="made up")
    image_shape = (3, 8, 8)
    identity: Mapping[str, Any] = {}

    def __init__(self, *, calibration_helps: bool = False) -> None:
        self.network: nn.Module = trained("resnet20", "se", scheme="101 | 010 | 100")
        self.batch = images(self.network, size=8)
        self.calibration_helps, self.asked = calibration_helps, 0
        self.means = [module.running_mean.clone() for module in batch_norms(self.network)]

    def training_batches(self, count: int) -> Iterable[Tensor]:
        return [self.batch]

    def results(self, network: nn.Module, part: str) -> np.ndarray:
        self.asked += 1
        left = {call.name for call in find_calls(network)}
        error = 10.0 + sum(people for call, people in MISSED.items() if call not in left)
        calibrated = any(
            not torch.equal(norm.running_mean, mean)
            for norm, mean in zip(batch_norms(network), self.means, strict=True)
        )
        return np.arange(5.0) + error - (0.5 if calibrated and self.calibration_helps else 0.0)


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def costs(**milliseconds: float) -> Costs:
    """Of 10 ms without attention; each call 1 ms, but for those given as layer1_0=2.0."""
    given = {name.replace("_", "."): value for name, value in milliseconds.items()}
    calls = {}
    for name in MISSED:
        value = given.get(name, 1.0)
        calls[name] = CallCost(Interval(value, value, value), Interval(value, value, value))
    return Costs(10.0, calls)


def bench_of(task: MadeUpTask, path: Path) -> Bench:
    return Bench(task, Evaluations(path / "evaluations.jsonl", task.results), [task.batch])


def test_the_calls_that_are_missed_least_go_first_and_of_equals_the_most_expensive(tmp_path: Path) -> None:
    bench = bench_of(MadeUpTask(), tmp_path)
    steps = [step for step, _ in fold_greedily(bench, costs(layer3_0=2.0))]
    assert [step.call for step in steps] == [None, "layer3.0", "layer1.2", "layer2.1", "layer1.0"]
    assert [step.drop.value for step in steps] == [0.0, 1.0, 2.0, 5.0, 10.0]
    assert [step.increment for step in steps] == pytest.approx([50.0, 30.0, 20.0, 10.0, 0.0])
    assert not any(step.calibrated for step in steps)


def test_batch_norm_stays_calibrated_where_that_helps(tmp_path: Path) -> None:
    steps = [step for step, _ in fold_greedily(bench_of(MadeUpTask(calibration_helps=True), tmp_path), costs())]
    # once it is calibrated, calibrating again changes nothing
    assert [step.calibrated for step in steps] == [False, True, False, False, False]
    assert [step.drop.value for step in steps] == [0.0, 0.5, 1.5, 4.5, 9.5]


def test_a_network_on_the_way_is_the_one_with_constant_masks(tmp_path: Path) -> None:
    task = MadeUpTask()
    bench = bench_of(task, tmp_path)
    masks: dict[str, Tensor] = {}
    current: dict[str, Tensor] = {}
    with torch.no_grad():
        for step, network in fold_greedily(bench, costs()):
            if step.call is not None:
                masks[step.call] = current[step.call]
            with constant_masks(task.network, masks):
                expected = task.network(task.batch)
            assert difference(expected, network(task.batch)) < 1e-5
            current = masks_of_network(bench, network)


@pytest.mark.parametrize(
    ("limits", "folded"),
    [
        (Limits(max_drop=0.0), 0),
        (Limits(max_drop=2.0), 2),
        (Limits(max_drop=100.0), 4),
        (Limits(max_increment=25.0), 2),
        (Limits(max_increment=0.0), 4),
        (Limits(max_drop=5.0, max_increment=25.0), 3),
    ],
)
def test_the_limits_choose_the_network(limits: Limits, folded: int) -> None:
    way = [(0.0, 50.0), (1.0, 30.0), (2.0, 20.0), (5.0, 10.0), (10.0, 0.0)]
    steps = [Step("x", False, 0.0, Interval(drop, drop, drop), increment) for drop, increment in way]
    assert choose(steps, limits) == folded


def test_the_network_that_is_taken_has_the_calls_that_are_left(tmp_path: Path) -> None:
    path, chosen, network = walk(bench_of(MadeUpTask(), tmp_path), costs(layer3_0=2.0), Limits(max_drop=2.0))
    assert (len(path), chosen) == (5, 2)
    assert [call.name for call in find_calls(network)] == ["layer1.0", "layer2.1"]


def test_limits_that_nothing_keeps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EANError, match=r"at most 1 .* at most 5 % to the time: the smallest loss is 0\.00;"):
        walk(bench_of(MadeUpTask(), tmp_path), costs(), Limits(max_drop=1.0, max_increment=5.0))


def test_by_default_a_hundredth_of_an_error_may_go_or_three_tenths_of_a_point() -> None:
    assert Limits().or_default(MadeUpTask.metric, 250.0) == Limits(max_drop=2.5)
    assert Limits().or_default(Metric("top1", "accuracy", "%"), 90.0) == Limits(max_drop=0.3)
    assert Limits(max_increment=5).or_default(MadeUpTask.metric, 250.0) == Limits(max_increment=5)


def test_a_step_with_a_gain_may_follow_one_with_too_great_a_loss() -> None:
    def step(drop: float) -> Step:
        return Step("x", False, 0.0, Interval(drop, drop, drop), 0.0)

    assert choose([step(0.0), step(0.5), step(0.2), step(0.9)], Limits(max_drop=0.3)) == 2


def test_what_was_evaluated_is_not_evaluated_again(tmp_path: Path) -> None:
    first, second = MadeUpTask(), MadeUpTask()
    before = [step for step, _ in fold_greedily(bench_of(first, tmp_path), costs())]
    file = tmp_path / "evaluations.jsonl"
    with file.open("a") as end:
        end.write('{"part": "validation", "netw')  # a line that an interruption cut off
    assert [step for step, _ in fold_greedily(bench_of(second, tmp_path), costs())] == before
    assert (first.asked, second.asked) == (1 + 4 + 3 + 2 + 1 + 4, 0)
    Evaluations(file, second.results, run="a").results(second.network, name="new", part="validation")
    Evaluations(file, second.results, run="a")
    with pytest.raises(EANError, match="was written by a run with other settings"):
        Evaluations(file, second.results, run="b")
    entry = '{"part": "validation", "network": "x", "results": %s}\n'
    wrong = [b"nonsense\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", *(entry % x for x in ("[NaN]", '[["a"]]', "null"))]
    for line in wrong:
        file.write_bytes(line if isinstance(line, bytes) else line.encode())
        with pytest.raises(EANError, match=r"evaluations\.jsonl is damaged in line 1"):
            bench_of(second, tmp_path)


def test_the_worth_of_attention_is_split_into_what_a_scale_does_and_the_rest(tmp_path: Path) -> None:
    task = MadeUpTask()
    bench = bench_of(task, tmp_path)
    masks = masks_of_network(bench)
    alone = worth_of_calls(bench, masks)
    assert {name: call["mean_mask"]["drop"]["value"] for name, call in alone.items()} == MISSED
    together = worth_of_all(bench, masks)
    assert together["worth"]["total"]["value"] == together["dropped"]["drop"]["value"] == 10.0
    total, static, dynamic = (together["worth"][part]["value"] for part in ("total", "static", "dynamic"))
    assert total == pytest.approx(static + dynamic)
