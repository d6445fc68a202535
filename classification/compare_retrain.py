"""Table 4: the schemes that the search methods found, trained from scratch with one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from classification.compare_show import found_schemes, mean
from classification.job import Job
from classification.retrain import Target, make_target, train_all
from classification.summary import increments, print_files, row_of, settings_of, show_spread
from ean_core.io.records import write_record
from ean_core.utils.distributed import first_does
from ean_core.utils.progress import console


def retrain_found(job: Job, record: Mapping[str, Any], path: Path) -> Path:
    """Train each method's answer and the recipe's other networks with all the recipe's seeds, and write Table 4.

    A scheme that several methods found is trained once, and one that is trained already is taken as it is.

    Args:
        job: its `train` section and `seeds`.
        record: of kind "search-comparison".
        path: the record to write.
    """
    found: dict[str, list[str]] = {}
    for label, scheme in found_schemes(record).items():
        found.setdefault(scheme.text, []).append(label)
    references = [label for label in ("org", *job.recipe.retrain) if label != "ean"]
    targets = [make_target(job, label) for label in dict.fromkeys(references)]
    targets += [make_target(job, text, label=", ".join(labels)) for text, labels in found.items()]
    trained = train_all(job, targets, job.recipe.seeds)
    settings = {**settings_of(job), "supernet_sha256": record["settings"]["supernet_sha256"]}

    def methods_of(target: Target) -> list[str]:
        return [target.label] if target.label in references else found[target.scheme.text]

    def measure_and_write() -> None:  # by the first process alone: several clocks at once disturb each other
        times = increments(trained, job)
        rows = [{"methods": methods_of(one.target), **row_of(one, times)} for one in trained]
        write_record(path, kind="search-retrained", settings=settings, metrics=rows)
        print_files(trained)

    first_does(measure_and_write)
    return path


def print_retrained(record: Mapping[str, Any]) -> None:
    """Table 4 on the screen."""
    settings = record["settings"]
    title = f"{settings['recipe']['name']}: trained from scratch, {settings['images']['test']:,} test images"
    table = Table(title=title, title_justify="left")
    table.add_column("found by")
    for head in ("test accuracy %", "time increment % (95 %)", "connections", "parameters"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("scheme", no_wrap=True)
    for row in record["metrics"]:
        time = row["time_increment"]
        cells = [show_spread(row["top1"]), "0" if time is None else mean({"mean": time["value"], **time})]
        cells += [f"{row['connections']}/{row['blocks']}", f"{row['parameters']:,}"]
        table.add_row(", ".join(row["methods"]), *cells, row["scheme"])
    console().print(table)
