"""The table at the end: what the retrained networks score, how large they are and what time they take."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ean_core.benchmark.timing import increment, measure, noise_warning
from ean_core.io.records import (
    environment,
    portable,
    processes_note,
    processes_of,
    read_record,
    spread,
    write_record,
)
from ean_core.networks import count_parameters
from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import TrainedTarget
from ean_core.pipeline.task import Metric
from ean_core.scheme import Scheme
from ean_core.utils.checked_dataclasses import WrongValueError, convert
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import Interval, proportion_interval
from ean_core.utils.screen import make_table, print_table, say
from ean_core.utils.text import TARGET_NAMES

TIMING = {"batch_size": 50, "rounds": 30, "setting": "eager float32"}
"""How the increments are measured."""


def name_of(label: str) -> str:
    """A target as tables show it: "Org", "EAN" for the searched network, "EAN NAME" for one of several files."""
    return TARGET_NAMES.get(label) or "EAN " + label.removeprefix("ean-")


@dataclass(frozen=True)
class NetworkSummary:
    """A row of the table: one network trained with several seeds.

    Attributes:
        label: of the target, such as "org".
        scheme: its connections.
        parameters: without what is not connected.
        seeds: of the trainings.
        results: key of each of the task's metrics -> one test result per seed, in the order of `seeds`.
        best_epoch: see `TrainedTarget`.
        time_increment: Eq. 9 against Org in percent, 95 % interval; None where no Org was trained.
        processes: that the trainings had, as far as it is known.
    """

    label: str
    scheme: Scheme
    parameters: int
    seeds: tuple[int, ...]
    results: Mapping[str, tuple[float, ...]]
    best_epoch: tuple[float, ...] | None
    time_increment: Interval | None
    processes: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As the tables show it; see `name_of`."""
        return name_of(self.label)

    def to_record(self) -> dict[str, Any]:
        """The row as records hold it, without the network's name."""
        best = {} if self.best_epoch is None else {f"best_epoch_{next(iter(self.results))}": spread(self.best_epoch)}
        return {
            "scheme": str(self.scheme),
            "connections": self.scheme.connections,
            "blocks": len(self.scheme),
            "parameters": self.parameters,
            **{key: spread(values) for key, values in self.results.items()},
            **best,
            "processes": list(self.processes),
            "time_increment": None if self.time_increment is None else dataclasses.asdict(self.time_increment),
        }


def summarize(trained: Sequence[TrainedTarget], job: Job, *, earlier: Path | None = None) -> list[NetworkSummary]:
    """Add the time increments to the test results; in the order of `trained`.

    Args:
        trained: the networks.
        job: the run.
        earlier: a record whose increments are kept if they are of these networks on this device: measured again, they
            would differ at every `--resume`.
    """
    increments = recorded_increments(earlier, trained, job) if earlier and earlier.exists() else None
    if increments is None:
        increments = measure_increments(trained, job)
    return [
        NetworkSummary(
            label=entry.target.label,
            scheme=entry.target.scheme,
            parameters=count_parameters(entry.network),
            seeds=entry.seeds,
            results=entry.results,
            best_epoch=entry.best_epoch,
            time_increment=increments.get(entry.target.label),
            processes=processes(entry),
        )
        for entry in trained
    ]


def measure_increments(trained: Sequence[TrainedTarget], job: Job) -> dict[str, Interval]:
    """Eq. 9 of every network against Org, in percent, by label; empty without an Org."""
    networks = {entry.target.label: entry.network for entry in trained}
    if "org" not in networks:
        return {}
    timing = timing_of(job)
    shape = job.task.dataset().image_shape
    batch = torch.randn(timing["batch_size"], *shape, generator=torch.Generator().manual_seed(0))
    if torch.cuda.is_available():
        networks = {label: network.cuda() for label, network in networks.items()}
        batch = batch.cuda()
    timings = measure(networks, batch, rounds=timing["rounds"])
    ratios = {label: increment(timing, timings["org"]) for label, timing in timings.items()}
    return {label: Interval(100 * ratio.value, 100 * ratio.low, 100 * ratio.high) for label, ratio in ratios.items()}


def recorded_increments(path: Path, trained: Sequence[TrainedTarget], job: Job) -> dict[str, Interval] | None:
    """The time increments of a record, by label.

    None if it lacks one of the networks, is of another device or other data, or was not timed as `timing_of` says.
    """
    try:
        record = read_record(path)
        here = environment()
        if any(record["environment"][name] != here[name] for name in ("device", "threads")):
            return None
        settings, data = record["settings"], portable(job.record_settings()["data"])
        if settings["timing"] != timing_of(job) or settings["data"] != json.loads(json.dumps(data, default=str)):
            return None
        rows = {(row["scheme"], row["parameters"]): row["time_increment"] for row in record["metrics"]}
        return {
            entry.target.label: convert(
                rows[str(entry.target.scheme), count_parameters(entry.network)], Interval, "time_increment"
            )
            for entry in trained
        }
    except (EANError, KeyError, TypeError, WrongValueError):
        return None


def summary_settings(job: Job) -> dict[str, Any]:
    """What a record of trained networks says of the run."""
    dataset = job.task.dataset()
    images = {"train": dataset.train_images, "test": dataset.test_images}
    return {**job.record_settings(), "images": images, "timing": timing_of(job)}


def timing_of(job: Job) -> dict[str, Any]:
    """`TIMING` for the job's task, whose images may be too large for so many at once."""
    return {**TIMING, "batch_size": min(TIMING["batch_size"], job.task.dataset().timing_batch)}


def write_summary(path: Path, rows: Sequence[NetworkSummary], job: Job, *, comparisons: Sequence[str] = ()) -> Path:
    """Write the table as a record, with the sentences that compare its rows."""
    metrics = [{"network": row.name, **row.to_record()} for row in rows]
    said = {"comparisons": list(comparisons)}
    return write_record(path, kind=job.record_kind("pipeline"), settings=summary_settings(job), metrics=metrics, **said)


def processes(trained: TrainedTarget) -> tuple[int, ...]:
    """How many processes each of a network's trainings had, as far as that is known."""
    return tuple(count for path in trained.directories if (count := processes_of(path)) is not None)


def print_files(trained: Sequence[TrainedTarget], names: Mapping[str, str] | None = None) -> None:
    """Print where every network is that was trained, and whether not all were trained alike.

    Args:
        trained: the networks.
        names: label -> what the network is called; `name_of` for the others.
    """
    if note := processes_note({entry.target.label: processes(entry) for entry in trained}):
        say(f"note: {note}")
    for entry in trained:
        label = entry.target.label
        say(f"{(names or {}).get(label) or name_of(label)}: {', '.join(map(str, entry.files))}")


def print_summary(rows: Sequence[NetworkSummary], *, metrics: Sequence[Metric], title: str, images: int) -> None:
    """Print the rows.

    Args:
        rows: of `summarize`.
        metrics: those to show, see `summary_metrics`.
        title: of the table.
        images: that the networks were tested on, for the interval of a single seed's percentage.
    """
    tests = [f"test {metric.heading}" for metric in metrics]
    heads = ["network", *tests, "parameters", "connections", "time increment % (95 %)", "scheme"]
    table = make_table(title, heads, left=["scheme"])
    for row in rows:
        table.add_row(
            row.name,
            *(show_result(row.results[metric.key], metric, images=images) for metric in metrics),
            f"{row.parameters:,}",
            f"{row.scheme.connections}/{len(row.scheme)}",
            show_increment(row),
            str(row.scheme),
        )
    print_table(table)
    measured = [row.time_increment for row in rows if row.time_increment is not None and row.label != "org"]
    if (warning := noise_warning(measured)) is not None:
        say(f"warning: {warning.partition(';')[0]}; tools/benchmark.py measures them again")


def show_spread(values: Sequence[float]) -> str:
    """`74.29` or, for several, `74.29 ± 0.20 (n=3)`."""
    over = spread(values)
    if over["std"] is None:
        return f"{over['mean']:.2f}"
    return f"{over['mean']:.2f} ± {over['std']:.2f} (n={over['n']})"


def show_result(values: Sequence[float], metric: Metric, *, images: int) -> str:
    """`show_spread`; for one seed and a percentage of images with its 95 % interval, `86.20 (82.9 to 88.9)`."""
    if len(values) > 1 or not metric.proportion:
        return show_spread(values)
    low, high = proportion_interval(values[0], images=images)
    return f"{values[0]:.2f} ({low:.1f} to {high:.1f})"


def show_increment(row: NetworkSummary) -> str:
    """`23.5 (22.1 to 24.9)`, `0` for Org itself, `-` where nothing was measured."""
    if row.label == "org":
        return "0"
    measured = row.time_increment
    return "-" if measured is None else f"{measured.value:.1f} ({measured.low:.1f} to {measured.high:.1f})"
