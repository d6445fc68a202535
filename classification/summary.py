"""The table at the end: what the retrained networks score, hold and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from classification.job import Job
from classification.retrain import Trained
from ean_core.benchmark.timing import increment, measure
from ean_core.io.records import processes_note, processes_of, spread, write_record
from ean_core.networks import count_parameters
from ean_core.utils.progress import console

TIMING = {"batch_size": 50, "rounds": 30, "setting": "eager float32"}
"""How the increments are measured."""

NAMES = {"org": "Org", "org-full": "Org-full", "share-full": "Share-full", "ean": "EAN"}


def name_of(label: str) -> str:
    """A label as the tables show it: "EAN" for the searched one, "EAN NAME" for one of several files."""
    return NAMES.get(label) or "EAN " + label.removeprefix("ean-")


def increments(trained: Sequence[Trained], job: Job) -> dict[str, Any]:
    """Eq. 9 of every network against Org, in percent with its interval; empty without an Org."""
    if not any(one.target.label == "org" for one in trained):
        return {}
    networks = {one.target.label: one.network for one in trained}
    batch = torch.randn(TIMING["batch_size"], *job.data.image_shape, generator=torch.Generator().manual_seed(0))
    if torch.cuda.is_available():
        networks = {label: network.cuda() for label, network in networks.items()}
        batch = batch.cuda()
    timings = measure(networks, batch, rounds=TIMING["rounds"])
    found = {}
    for label, timing in timings.items():
        value = increment(timing, timings["org"])
        found[label] = {"value": 100 * value.value, "low": 100 * value.low, "high": 100 * value.high}
    return found


def row_of(one: Trained, times: Mapping[str, Any]) -> dict[str, Any]:
    """A trained network as the records have it; `times` are those of `increments`."""
    scheme = one.target.scheme
    return {
        "scheme": str(scheme),
        "connections": scheme.connections,
        "blocks": len(scheme),
        "parameters": count_parameters(one.network),
        "top1": spread(one.top1),
        "top5": spread(one.top5),
        **({} if one.best_epoch_top1 is None else {"best_epoch_top1": spread(one.best_epoch_top1)}),
        "processes": processes(one),
        "time_increment": times.get(one.target.label),
    }


def settings_of(job: Job) -> dict[str, Any]:
    """What a record of trained networks says of the run."""
    images = {"train": len(job.training_images()), "test": len(job.data.test)}
    return {**job.record_settings(), "images": images, "timing": TIMING}


def summarise(job: Job, trained: Sequence[Trained], path: Path) -> list[dict[str, Any]]:
    """Measure the increments, write the record, and give its rows."""
    times = increments(trained, job)
    rows = [{"network": name_of(one.target.label), **row_of(one, times)} for one in trained]
    write_record(path, kind="pipeline", settings=settings_of(job), metrics=rows)
    return rows


def processes(one: Trained) -> list[int]:
    """How many processes each of its trainings had, as far as that is known."""
    return [count for path in one.directories if (count := processes_of(path)) is not None]


def print_files(trained: Sequence[Trained]) -> None:
    """Where every network is that was trained, and whether they were trained alike."""
    if note := processes_note({name_of(one.target.label): processes(one) for one in trained}):
        print(f"note: {note}")
    for one in trained:
        print(f"{one.target.label}: {', '.join(str(path / 'classifier.pth') for path in one.directories)}")


def print_table(rows: Sequence[dict[str, Any]], *, title: str) -> None:
    """The rows on the screen."""
    table = Table(title=title, title_justify="left")
    table.add_column("network", no_wrap=True)
    for head in ("test accuracy %", "parameters", "connections", "time increment % (95 %)"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("scheme", no_wrap=True)
    for row in rows:
        table.add_row(
            row["network"],
            show_spread(row["top1"]),
            f"{row['parameters']:,}",
            f"{row['connections']}/{row['blocks']}",
            show_increment(row),
            row["scheme"],
        )
    console().print(table)


def show_spread(top1: dict[str, Any]) -> str:
    """`74.29` or `74.29 ± 0.20 (n=3)`."""
    if top1["std"] is None:
        return f"{top1['mean']:.2f}"
    return f"{top1['mean']:.2f} ± {top1['std']:.2f} (n={top1['n']})"


def show_increment(row: dict[str, Any]) -> str:
    """`23.5 (22.1 to 24.9)`, `0` for Org itself, `-` where nothing was measured."""
    found = row["time_increment"]
    if row["network"] == NAMES["org"]:
        return "0"
    return "-" if found is None else f"{found['value']:.1f} ({found['low']:.1f} to {found['high']:.1f})"
