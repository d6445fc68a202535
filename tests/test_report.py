"""The report: figures come from records, gaps stay gaps, and the README shows what the records hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ean_core import EANError
from ean_core.report import BEGIN, END, replace_report, report
from ean_core.results import write_record
from tests.conftest import ROOT, Run


def pipeline_record(path: Path, data: str = "cifar100") -> None:
    def row(network: str, top1: list[float], increment: float | None) -> dict:
        spread = {"n": len(top1), "mean": sum(top1) / len(top1), "std": 0.5 if len(top1) > 1 else None, "values": top1}
        time = None if increment is None else {"value": increment, "low": increment - 1, "high": increment + 1}
        return {
            "network": network, "scheme": "010 | 100 | 101", "connections": 4, "blocks": 9, "parameters": 1234567,
            "top1": spread, "top5": spread, "time_increment": time,
        }  # fmt: skip

    recipe = {"name": "tiny", "model": {"arch": "resnet29", "attention": "se"}, "train": {"epochs": 3}, "seeds": [0, 1]}
    write_record(
        path,
        kind="pipeline",
        settings={
            "recipe": recipe,
            "data": {"name": data},
            "images": {"train": 20000, "test": 10000},
            "timing": {"batch_size": 50, "rounds": 30, "setting": "eager float32"},
        },
        metrics=[row("Org", [40.0, 41.0], 0), row("Share-full", [42.25, 43.25], 30.0), row("EAN", [44.0], None)],
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    directory = tmp_path / "results"
    directory.mkdir()
    shutil.copy(ROOT / "results" / "paper.json", directory)
    return directory


def test_pipeline_rows_stand_beside_the_papers(results: Path) -> None:
    pipeline_record(results / "run.json")
    text = report(results)
    assert "| Org | 40.50 ± 0.50 | 1,234,567 | 4/9 | 0 | 74.29 | 1.727 M | 0 |" in text
    assert "| Share-full | 42.75 ± 0.50 | 1,234,567 | 4/9 | 30.0 (29.0 to 31.0) | 76.09 | 1.739 M | 52.09 |" in text
    assert "| EAN | 44.00 | 1,234,567 | 4/9 | – | 76.93 | 1.739 M | 23.52 |" in text
    assert "20,000 training and 10,000 test images, 3 epochs" in text
    assert "another set-up" in text


def test_data_without_a_row_in_the_paper_get_no_paper_columns(results: Path) -> None:
    pipeline_record(results / "run.json", data="digits")
    assert "paper" not in report(results)


def test_no_records_is_said(results: Path) -> None:
    assert report(results) == "No records in results/ yet."


def test_damaged_and_missing_inputs_are_named(results: Path, tmp_path: Path) -> None:
    (results / "bad.json").write_text("{")
    with pytest.raises(EANError, match=r"bad\.json cannot be read"):
        report(results)
    with pytest.raises(EANError, match="is not a directory"):
        report(tmp_path / "none")
    (tmp_path / "plain.md").write_text("no marks")
    with pytest.raises(EANError, match="has no lines"):
        replace_report(tmp_path / "plain.md", "x")


def test_the_command_writes_and_checks(run: Run, results: Path, tmp_path: Path) -> None:
    pipeline_record(results / "run.json")
    (tmp_path / "R.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert "R.md updated" in run("tools/report.py", "--write", "R.md").stdout
    text = (tmp_path / "R.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "40.50 ± 0.50" in text
    run("tools/report.py", "--check", "R.md")


def test_the_readme_shows_what_the_records_hold() -> None:
    old, new = replace_report(ROOT / "README.md", report(ROOT / "results"))
    assert old == new, "run: python tools/report.py --write README.md"


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.name)
def test_every_committed_record_is_complete(path: Path) -> None:
    record = json.loads(path.read_text())
    if path.name == "paper.json":
        assert record["format"] == "ean-paper-1"
        return
    assert record["format"] == "ean-record-1"
    assert {"kind", "settings", "metrics", "environment"} <= set(record)
    assert record["environment"]["commit"]
    assert str(Path.home()) not in path.read_text()


def test_searches_and_batch_norm_are_shown_from_their_records(results: Path) -> None:
    rows = [
        {"method": "ean", "landscape": "additive", "bits": 9, "best": [[9, 9, 9], [0.5, 0.25, 0.75]]},
        {"method": "ean", "landscape": "noise", "bits": 9, "best": [[1, 0, 2]], "most_probable": [[0.125, 0, 1]]},
    ]  # fmt: skip
    settings = {"sizes": {"9": {"evaluations": 100}}, "seeds": 20}
    write_record(results / "land.json", kind="search-benchmark", settings=settings, metrics=rows)
    write_record(
        results / "norm.json",
        kind="batch-norm",
        settings={"recipe": {"name": "tiny"}, "validation_images": 5000},
        metrics={"accuracy": {"running": [16.0, 23.0, 30.0, 34.0], "re-estimated": [32.0] * 4}, "standard_error": 0.66},
    )
    text = report(results)
    assert "| ean, best | 0.50 (0.25 to 0.75) | 1.00 (0.00 to 2.00) |" in text
    assert "| ean, most probable | – | 0.12 (0.00 to 1.00) |" in text
    assert "running statistics: full 16.00 %, empty 23.00 %, 2 random schemes 30.00 to 34.00 % (mean 32.00" in text
