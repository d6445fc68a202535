"""Searches on tasks other than classification: the trained networks by the task's own metrics."""

from __future__ import annotations

from typing import Any

from ean_core.report.elements import Element, Table
from ean_core.report.formatting import counted, interval, recorded_mean, seeds
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.utils.intervals import Interval
from ean_core.utils.text import attention_label

KINDS = ("task-pipeline", "task-search-retrained")


def elements_of(results: Results, record: Record) -> list[Element]:
    """The table of a run, and its pictures."""
    del results
    return [table(record), *pictures_of(record)]


def table(record: Record) -> Table:
    """Test results, parameters, connections and time increment of a run, a row for each network."""
    settings, metrics = record.settings, record.settings["metrics"]
    heads = ["network", *(heading(metric) for metric in metrics), "parameters", "connections", "time increment, %"]
    rows = []
    for row in record.metrics:
        values = [recorded_mean(row[metric["key"]]) for metric in metrics]
        name = row.get("network") or ", ".join(row["methods"])
        time = row["time_increment"]
        increment = "0" if name.lower() == "org" else interval(None if time is None else Interval(**time))
        connections = f"{row['connections']}/{row['blocks']}"
        rows.append([name, *values, counted(row["parameters"]), connections, increment])
    recipe, images, timing = settings["recipe"], settings["images"], settings["timing"]
    number = max(row[metrics[0]["key"]]["n"] for row in record.metrics)
    note = (
        f"{settings['task']}, {recipe['model']['arch']}, {attention_label(recipe['model']['attention'])}, "
        f"{settings['data']['name']}, {images['train']:,} training and {images['test']:,} test images, "
        f"{seeds(number)}; time increment: batch {timing['batch_size']}, {timing['setting']}, 95 % interval; "
        f"{record.machine}."
    )
    return Table(recipe["name"], heads, rows, notes=(note,), records=(record.name,))


def heading(metric: dict[str, Any]) -> str:
    """A metric over its column, with its unit, and an arrow where lower is better."""
    unit = f", {metric['unit']}" if metric["unit"] else ""
    return f"test {metric['name']}{unit}{'' if metric['higher_is_better'] else ' (lower is better)'}"
