"""Trim a network: measure what its attention calls cost and are worth, fold the ones that are not, and say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.benchmark.latency_table import device_name
from ean_core.deploy.mean_mask import drop_calls, find_calls
from ean_core.io.records import write_record
from ean_core.pipeline.trim.cost import FULL, NONE, TRIMMED, Costs, call_costs, compare_times, example_batch
from ean_core.pipeline.trim.evaluations import Evaluations
from ean_core.pipeline.trim.greedy import Limits, Step, walk
from ean_core.pipeline.trim.metric import metric_drop, metric_value
from ean_core.pipeline.trim.sentence import conclusion
from ean_core.pipeline.trim.task import TEST, VALIDATION, TrimTask
from ean_core.pipeline.trim.worth import AS_TRAINED, Bench, masks_of_network, worth_of_all, worth_of_calls
from ean_core.training.run_key import run_key
from ean_core.training.work_dir import WorkDir, claim
from ean_core.utils.errors import EANError
from ean_core.utils.progress import bar
from ean_core.utils.text import how_many

EVALUATIONS, COSTS, RECORD, NETWORK = "evaluations.jsonl", "costs.json", "trim.json", "trimmed"
PARTS = ("trim", "finetune")
"""What the claims on the work directory and on the folders in it call them."""
MASK_BYTES = 200e6
"""Memory for the training images that mean masks and batch norm calibration run over."""


@dataclass(frozen=True)
class TrimSettings:
    """How to trim.

    Attributes:
        limits: which network to take.
        finetune: epochs to train it on.
        mode: of inference, in which networks are timed.
        batch_size: images per forward pass when timing; None: see `example_batch`.
        rounds: of timing.
    """

    limits: Limits
    finetune: int = 0
    mode: str = "eager"
    batch_size: int | None = None
    rounds: int = 30


def trim(task: TrimTask, settings: TrimSettings, *, directory: Path, resume: bool) -> dict[str, Any]:
    """Trim a task's network, and write trim.json, the picture and the trimmed network.

    Args:
        task: with a trained network and its images.
        settings: see `TrimSettings`; limits and finetuning may differ when a run is resumed.
        directory: where everything is written.
        resume: use the measurements that the directory holds.

    Returns:
        the record's metrics.

    Raises:
        EANError: if there is no attention, or no network keeps the limits.
    """
    calls = find_calls(task.network)
    check_calls(len(calls), "the network")
    batch = example_batch(task.image_shape, batch_size=settings.batch_size, device=device_of(task.network))
    how = {"mode": settings.mode, "batch_size": len(batch), "image_shape": list(task.image_shape)}
    files = [directory / EVALUATIONS, directory / RECORD]
    identity = {"part": "trim", **task.identity, **how}
    claim(directory, identity, resume=resume, begun=files, work_dir=WorkDir(directory, "trim", PARTS))
    costs = measured_costs(task.network, batch, settings, directory / COSTS, identity)
    with bar("evaluate", count_evaluations(len(calls))) as progress:
        evaluations = Evaluations(
            directory / EVALUATIONS,
            task.results,
            run=run_key(identity),
            after=lambda: progress.update(progress.done + 1),
        )
        bench = Bench(task, evaluations, training_batches(task))
        masks = masks_of_network(bench)
        one_by_one, together = worth_of_calls(bench, masks), worth_of_all(bench, masks)
        limits = settings.limits.or_default(task.metric, bench.value(bench.before))
        path, chosen, network = walk(bench, costs, limits)
        if chosen:
            network = finetuned(task, network, settings.finetune, directory / f"finetune_{chosen}", resume=resume)
        final = final_results(bench, network, path[: chosen + 1], finetune=settings.finetune)
    metrics = {
        "metric": asdict(task.metric),
        "calls": with_costs(one_by_one, costs),
        "validation": bench.value(bench.before),
        "bare_milliseconds": costs.bare,
        "warning": costs.noise_warning,
        "all": together,
        "path": [step.to_record() for step in path],
        "chosen": chosen,
        "folded": [step.call for step in path[1 : chosen + 1]],
        **final,
        "times": whole_times(task.network, network, batch, settings),
    }
    device = device_name(batch.device)
    metrics["sentence"] = conclusion(metrics, limits=limits, parts=asdict(task.parts), device=device)
    how |= {"device": device, "limits": asdict(limits)}
    return write_results(task, settings, network, metrics, directory=directory, how=how)


def finetuned(task: TrimTask, network: nn.Module, epochs: int, directory: Path, *, resume: bool) -> nn.Module:
    """A trimmed network trained on, in a directory with the number of epochs in its name; as it is for no epochs."""
    if not epochs:
        return network
    folder = directory.with_name(f"{directory.name}_{epochs}")
    return task.finetune(network, epochs=epochs, directory=folder, resume=resume)


def check_calls(count: int, what: str) -> None:
    """Refuse a network without attention.

    Raises:
        EANError: always for a count of 0.
    """
    if not count:
        raise EANError(
            f"nothing to trim: {what} has no attention call; give a network with connected attention, such as a "
            "share-full classifier.pth, or timm:seresnet50"
        )


def count_evaluations(calls: int) -> int:
    """How many evaluations trimming takes at most: before, each call, all, the steps after the first, and the ends."""
    return 1 + 2 * calls + 4 + calls * (calls - 1) // 2 + calls + 2


def with_costs(worth: Mapping[str, Mapping[str, Any]], costs: Costs) -> dict[str, dict[str, Any]]:
    """Call -> what it is worth and what it costs, as in records."""
    return {
        name: {**values, "milliseconds": asdict(cost.milliseconds), "share": asdict(cost.share)}
        for (name, values), cost in zip(worth.items(), costs.calls.values(), strict=True)
    }


def device_of(network: nn.Module) -> torch.device:
    """The device that a network is on."""
    return next(network.parameters()).device


def measured_costs(
    network: nn.Module, batch: Tensor, settings: TrimSettings, path: Path, identity: Mapping[str, Any]
) -> Costs:
    """What the calls cost, measured or, so that the order of folding is the same, as this device measured it before.

    Args:
        network, batch, settings: as for `trim`.
        path: of the file that keeps the costs.
        identity: of the run.
    """
    key, names = run_key({**identity, "device": device_name(batch.device)}), [call.name for call in find_calls(network)]
    if path.exists():
        costs = Costs.load(path)
        if costs.run in (None, key) and list(costs.calls) == names:
            return costs
    costs = with_bar(
        "time", settings.rounds, lambda step: call_costs(network, batch, **timing(settings), after_round=step)
    )
    costs = replace(costs, run=key)
    costs.save(path)
    return costs


def whole_times(network: nn.Module, trimmed: nn.Module, batch: Tensor, settings: TrimSettings) -> dict[str, Any]:
    """The network, the trimmed one, and the one without attention, in turns."""
    bare = drop_calls(network, [call.name for call in find_calls(network)])
    networks = {FULL: network, TRIMMED: trimmed, NONE: bare}
    return with_bar(
        "time", settings.rounds, lambda step: compare_times(networks, batch, **timing(settings), after_round=step)
    )


def timing(settings: TrimSettings) -> dict[str, Any]:
    """The arguments of both measurements."""
    return {"mode": settings.mode, "rounds": settings.rounds}


def with_bar(name: str, rounds: int, measure: Callable[[Callable[[], None]], Any]) -> Any:
    """Run a measurement under a bar that moves between rounds."""
    with bar(name, rounds) as progress:
        return measure(lambda: progress.update(progress.done + 1))


def training_batches(task: TrimTask) -> list[Tensor]:
    """Training images for masks and calibration, as many as fit in `MASK_BYTES`: from 32 to 1000.

    Raises:
        EANError: if there are none.
    """
    channels, height, width = task.image_shape
    count = int(min(1000, max(32, MASK_BYTES / (4 * channels * height * width))))
    batches = list(task.training_batches(min(count, task.parts.training)))
    if not batches:
        raise EANError("mean masks need training images, and there are none")
    return batches


def final_results(bench: Bench, network: nn.Module, way: Sequence[Step], *, finetune: int) -> dict[str, Any]:
    """Value and drop of the chosen network on the validation and, at last, the test images, and their groups' figures:
    image part -> group -> its figure before and after."""
    name = " ".join(f"{step.call}{'*' if step.calibrated else ''}" for step in way[1:]) or AS_TRAINED
    name += f", {how_many(finetune, 'epoch')}" if finetune and len(way) > 1 else ""
    task, results = bench.task, bench.evaluations.results
    final = {"trimmed": bench.measure(network, name), "test": None, "groups": {}}
    for part in (VALIDATION, TEST) if task.parts.test else (VALIDATION,):
        before = results(task.network, name=AS_TRAINED, part=part)
        after = results(network, name=name, part=part)
        figures = [task.group_figures(each, part) for each in (before, after)]
        if figures[0]:
            final["groups"][part] = {
                group: {"before": value, "after": figures[1][group]} for group, value in figures[0].items()
            }
        if part == TEST:
            final["test"] = {
                "before": metric_value(before, task.metric),
                "after": metric_value(after, task.metric),
                "drop": asdict(metric_drop(before, after, task.metric)),
            }
    return final


def write_results(
    task: TrimTask, settings: TrimSettings, network: nn.Module, metrics: dict[str, Any], *, directory: Path, how: Any
) -> dict[str, Any]:
    """Write the trimmed network, the record and its picture; returns the metrics with the names of the files."""
    files: list[Path] = []
    if metrics["chosen"]:
        info = {name: metrics[name] for name in ("folded", "trimmed", "test", "sentence")}
        files = task.save(network, directory / NETWORK, {**info, "finetune": settings.finetune})
    metrics["files"] = [path.name for path in files]
    record = {
        "task": task.name,
        "parts": asdict(task.parts),
        **task.identity,
        **how,
        "finetune": settings.finetune,
        "rounds": settings.rounds,
        "threads": torch.get_num_threads(),
    }
    path = write_record(directory / RECORD, kind="trim", settings=record, metrics=metrics)
    from ean_core.report.plots_trim import draw_trim  # matplotlib takes a second

    draw_trim(path.with_suffix(".png"), {"settings": record, "metrics": metrics})
    return metrics
