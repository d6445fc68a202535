"""Table 4: the schemes that the search methods found, trained from scratch with one recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ean_core.io.records import write_record
from ean_core.pipeline.comparison.show import answer_schemes, show_mean
from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import make_target, train_all
from ean_core.pipeline.summary import print_files, show_spread, summarize, summary_settings
from ean_core.pipeline.summary_coverage import with_covered_seeds
from ean_core.pipeline.task import Metric
from ean_core.pipeline.verdicts import comparison_sentences
from ean_core.utils.distributed import run_on_main_process
from ean_core.utils.screen import make_table, print_table, say_verdict


def retrain_answers(job: Job, record: Mapping[str, Any], path: Path) -> Path:
    """Train each method's answer and the recipe's other networks with all the recipe's seeds, and write Table 4.

    A scheme that several methods found is trained once, and one that is trained already is taken as it is.

    Args:
        job: its `train` section and `seeds`.
        record: of kind "search-comparison".
        path: the record to write.
    """
    methods: dict[str, list[str]] = {}  # bits -> the methods whose answer they are
    for label, scheme in answer_schemes(record).items():
        methods.setdefault(scheme.text, []).append(label)
    references = dict.fromkeys(label for label in ("org", *job.recipe.retrain) if label != "ean")
    targets = [make_target(job, label) for label in references]
    targets += [make_target(job, text, label=", ".join(labels)) for text, labels in methods.items()]
    job = with_covered_seeds(job, targets, path)
    trained = train_all(job, targets, job.recipe.seeds)
    searches = {"supernet_sha256": record["settings"]["supernet_sha256"], "search_seeds": record["settings"]["seeds"]}
    settings = {**summary_settings(job), **searches}

    def measure_and_write() -> None:  # by the first process alone: several clocks at once disturb each other
        rows = [
            {
                "methods": [row.label] if row.label in references else methods[row.scheme.text],
                **row.to_record(),
            }
            for row in summarize(trained, job, earlier=path)
        ]
        names = {", ".join(labels): " and ".join(labels) for labels in methods.values()}
        said = {"comparisons": comparison_sentences(trained, names)}
        write_record(path, kind=job.record_kind("search-retrained"), settings=settings, metrics=rows, **said)
        print_files(trained, {label: label for label in names})

    run_on_main_process(measure_and_write)
    return path


def print_retrained(record: Mapping[str, Any], *, metrics: Sequence[Metric]) -> None:
    """Print Table 4.

    Args:
        record: of kind "search-retrained".
        metrics: those to show, see `summary_metrics`.
    """
    settings = record["settings"]
    title = f"{settings['recipe']['name']}: trained from scratch, {settings['images']['test']:,} test images"
    tests = [f"test {metric.heading}" for metric in metrics]
    heads = ["found by", *tests, "time increment % (95 %)", "connections", "parameters", "scheme"]
    table = make_table(title, heads, left=["scheme"])
    for row in record["metrics"]:
        time = row["time_increment"]
        cells = [
            *(show_spread(row[metric.key]["values"]) for metric in metrics),
            "0" if time is None else show_mean({"mean": time["value"], **time}),
        ]
        cells += [f"{row['connections']}/{row['blocks']}", f"{row['parameters']:,}"]
        table.add_row(", ".join(row["methods"]), *cells, row["scheme"])
    print_table(table)
    say_verdict(record.get("comparisons", []))
