"""The table of a search on a task that is not classification."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

from ean_core.io.records import spread, write_record
from ean_core.pipeline.job import Job
from ean_core.pipeline.task import Metric
from ean_core.report import KINDS, html_report
from ean_core.report.results import read_file
from ean_core.report.task_runs import table

MAE = Metric("mae", "MAE", "people", higher_is_better=False)


def write(path: Path) -> None:
    increment = {"value": 3.2, "low": 1.0, "high": 5.0}
    rows = [
        {"network": name, "mae": spread(values), "parameters": 1234, "connections": bits, "blocks": 9}
        | {"time_increment": time, "scheme": "0", "processes": []}
        for name, values, bits, time in (("Org", [80.0, 82.0], 0, None), ("EAN", [75.0, 76.0], 4, increment))
    ]
    settings = {
        "task": "crowd counting",
        "metrics": [dataclasses.asdict(MAE)],
        "recipe": {"name": "crowds", "model": {"arch": "resnet20", "attention": "se"}},
        "data": {"name": "part_A"},
        "images": {"train": 270, "test": 182},
        "timing": {"batch_size": 1, "setting": "eager float32"},
    }
    write_record(path, kind="task-pipeline", settings=settings, metrics=rows)


def test_the_tasks_metrics_head_the_table(tmp_path: Path) -> None:
    write(tmp_path / "run" / "summary.json")
    shown = table(read_file(tmp_path / "run" / "summary.json", "run/summary", ()))
    heads = ["network", "test MAE, people (lower is better)", "parameters", "connections", "time increment, %"]
    assert list(shown.heads) == heads
    assert shown.rows[0] == ["Org", "81.00 ± 1.41", "1,234", "0/9", "0"]
    assert shown.rows[1] == ["EAN", "75.50 ± 0.71", "1,234", "4/9", "3.2 (1.0 to 5.0)"]
    assert "270 training and 182 test images, 2 seeds" in shown.notes[0]


def test_a_run_folder_of_such_a_search_is_shown(tmp_path: Path) -> None:
    write(tmp_path / "run" / "summary.json")
    root = Path(__file__).parents[2]
    assert "MAE, people" in html_report(root / "results", [tmp_path / "run"])


def test_only_accuracies_are_records_of_the_papers_tables() -> None:
    for metric, kind in ((MAE, "task-pipeline"), (Metric("top1", "accuracy", "%"), "pipeline")):
        task = SimpleNamespace(metrics=(metric,))
        assert Job(task, Path()).record_kind("pipeline") == kind
        assert kind in KINDS
