"""The report's tables: figures come from records, gaps stay gaps, the committed files show what the records hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ean_core import EANError
from ean_core.io.records import write_record
from ean_core.report import (
    BEGIN,
    BEGIN_ALL,
    END,
    END_ALL,
    figure1,
    html_report,
    refresh,
    replace_report,
    report,
    report_all,
)
from ean_core.report.results import OTHER_FORMATS, Results
from tests.conftest import ROOT, Run
from tests.helpers import report_records as made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return made.new_directory(tmp_path / "results")


def test_pipeline_rows_stand_beside_the_papers(results: Path) -> None:
    made.pipeline(results / "run.json")
    text = report_all(results)
    assert "| Org | 40.50 ± 0.50 | 1,234,567 | 4/9 | 0 | 74.29 | 1.727 M | 0 |" in text
    assert "| Share-full | 42.75 ± 0.50 | 1,234,567 | 4/9 | 30.0 (29.0 to 31.0) | 76.09 | 1.739 M | 52.09 |" in text
    assert "| EAN | 44.00 | 1,234,567 | 4/9 | – | 76.93 | 1.739 M | 23.52 |" in text
    assert "20,000 training and 10,000 test images, 3 epochs, 2 seeds" in text
    assert "another set-up" in text


def test_the_readmes_table_has_a_row_for_each_task_and_a_command_for_each_row(results: Path) -> None:
    made.pipeline(results / "short.json", name="short", epochs=2)
    made.pipeline(results / "long.json", name="long")
    made.times(results / "times.json")
    made.counting(results / "a.json", attention="se", scheme="010100101", mae=90.0)
    made.counting(results / "b.json", attention=None)
    made.segmentation(results / "voc.json")
    lines = report(results).splitlines()
    assert lines[2:8] == [
        "| 1. CIFAR-100, test top-1, % ↑ | 40.50 ± 0.50 | 42.75 ± 0.50 | 44.00 | 74.29 | 76.09 | 76.93 |",
        "| 2. ResNet-164, parameters | 1,738,512 | – | 1,738,512 | 1.727 M | 1.739 M | 1.739 M |",
        "| 2. ResNet-164, time increment, % ↓ | 0 | – | 25.0 (15.0 to 35.0) | 0 | 52.09 | 23.52 |",
        "| 3. ShanghaiTech A, MAE ↓ | 101.0 ± 0.5 | – | 91.0 ± 0.5 | – | 89.9 | 79.4 |",
        "| 4. VOC person subset, mIoU, % ↑ | 40.50 ± 0.50 | – | 42.50 ± 0.50 | – | – | – |",
        "",
    ]
    assert lines[8].startswith("Ours: mean ± standard deviation over seeds")
    assert [line[:3] for line in lines[10:14]] == ["1. ", "2. ", "3. ", "4. "]
    assert "`python tools/search.py classification/configs/long.py` ([record](results/long.json))" in lines[10]
    assert "--part A --attention se --scheme 010100101 --weights CLASSIFIER.pth" in lines[12]
    assert "short" not in report(results)


def test_data_without_a_row_in_the_paper_stay_out_of_the_short_tables(results: Path) -> None:
    made.pipeline(results / "run.json", data="digits")
    assert "40.50" not in report(results)  # but for the gaps there is nothing to say
    full = report_all(results)
    assert "| Org | 40.50 ± 0.50 | 1,234,567 | 4/9 | 0 |\n" in full


def test_own_images_with_ones_own_attention_and_one_seed(results: Path) -> None:
    made.pipeline(results / "mine.json", data="folder", attention="contrast.py:Contrast", seeds=1)
    text = report_all(results)
    assert (
        "Ours, recipe `tiny`: resnet29, Contrast, own images, 20,000 training and 10,000 test images, 3 epochs, 1 seed;"
        in text
    )
    (panel,) = figure1.elements_of(None, Results.read(results).of_kind("pipeline")[0])
    assert "Share-full Contrast" in panel.alt
    assert "bars up: none, as there is 1 seed" in panel.note


def test_only_the_papers_own_set_up_fills_its_table(results: Path) -> None:
    made.pipeline(results / "small.json", arch="resnet29")
    made.pipeline(results / "subset.json", arch="resnet164", per_class=200)
    made.pipeline(results / "short.json", arch="resnet164", per_class=None)
    made.times(results / "times.json")
    gap = "| EAN SE | – | 1,738,512 | 25.0 (15.0 to 35.0) | 76.93 | 1.739 M | 23.52 |"
    assert gap in report_all(results)
    assert "accuracy on CIFAR-100, ResNet-164: no record yet" in report_all(results)
    made.pipeline(results / "whole.json", arch="resnet164", per_class=None, epochs=164)
    text = report_all(results)
    assert "| EAN SE | 44.00 | 1,234,567 | 25.0 (15.0 to 35.0) | 76.93 | 1.739 M | 23.52 |" in text
    assert "| EAN SGE | – | – | – | 76.36 | 1.727 M | 50.49 |" in text
    assert "accuracy on CIFAR-100, ResNet-164: no record yet" not in text
    made.times(results / "times.json", scheme="111 | 100 | 101")
    text = report_all(results)
    assert "| EAN SE | 44.00 | 1,234,567 | – | 76.93 | 1.739 M | 23.52 |" in text, "that time is of another scheme"


def test_no_records_is_said_and_every_gap_names_a_command(results: Path) -> None:
    assert report(results) == "No records in results/ yet."
    gaps = [line for line in report_all(results).splitlines() if "no record yet" in line]
    assert len(gaps) >= 10
    for gap in gaps:
        command = gap.split("`")[1]
        assert command.startswith("python ")
        assert "python tools/search.py" in command or (ROOT / command.split()[1]).is_file(), command


def test_damaged_and_missing_inputs_are_named(results: Path, tmp_path: Path) -> None:
    (results / "bad.json").write_text("{")
    with pytest.raises(EANError, match=r"bad\.json cannot be read"):
        report(results)
    (results / "bad.json").unlink()
    write_record(results / "odd.json", kind="pipeline", settings={}, metrics=[])
    with pytest.raises(EANError, match=r"odd\.json is of kind 'pipeline' but lacks .*KeyError: .*write it again"):
        report_all(results)
    content = json.loads(made.pipeline(results / "odd.json").read_text())
    del content["metrics"][1]["top1"]["mean"]
    (results / "odd.json").write_text(json.dumps(content))
    with pytest.raises(EANError, match=r"odd\.json: metrics is damaged \(1\.top1\.mean is missing, where a finite"):
        report_all(results)
    with pytest.raises(EANError, match="is not a directory"):
        report(tmp_path / "none")
    (tmp_path / "plain.md").write_text("no marks")
    with pytest.raises(EANError, match="has no lines"):
        replace_report(tmp_path / "plain.md", "x")
    with pytest.raises(EANError, match="does not exist"):
        refresh(tmp_path / "none.md", results)
    (tmp_path / "latin.md").write_bytes("é".encode("latin-1"))
    with pytest.raises(EANError, match="latin.md cannot be read as text in UTF-8"):
        refresh(tmp_path / "latin.md", results)


def test_the_command_writes_and_checks_several_files(run_here: Run, results: Path, tmp_path: Path) -> None:
    made.pipeline(results / "run.json")
    (tmp_path / "R.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    (tmp_path / "all.md").write_text(f"{BEGIN_ALL}\n{END_ALL}\n")
    stale = refresh(tmp_path / "R.md", results)
    assert stale[0] != stale[1]
    printed = run_here("tools/report.py", "--write", "R.md", "all.md").stdout
    assert "R.md updated" in printed
    assert "all.md updated" in printed
    text = (tmp_path / "R.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "40.50 ± 0.50" in text
    assert "](results/run.json)" in text
    assert "](../results/run.json)" in (tmp_path / "all.md").read_text()
    assert "all.md shows" in run_here("tools/report.py", "--check", "R.md", "all.md").stdout


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_the_committed_files_show_what_the_records_hold(name: str) -> None:
    old, new = refresh(ROOT / name, ROOT / "results")
    assert old == new, "run: python tools/report.py --write README.md docs/results.md"


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.json")), ids=lambda path: path.name)
def test_every_committed_record_is_complete(path: Path) -> None:
    record = json.loads(path.read_text())
    if record["format"] in OTHER_FORMATS:
        return
    assert record["format"] == "ean-record-1"
    assert {"kind", "settings", "metrics", "environment"} <= set(record)
    assert record["environment"]["commit"]
    assert str(Path.home()) not in path.read_text()


def test_files_cannot_break_out_of_a_table(results: Path) -> None:
    made.pipeline(results / "run.json", name="a|b <script> \n # c", data="d|e <b> \n # f")
    text = report_all(results)
    assert "**d|e &lt;b> # f, ResNet-29 with SE, 20,000 training images, 3 epochs**" in text
    assert "`a|b &lt;script> # c`" in text
    assert "<script" not in text


def committed_front(path: Path) -> Path:
    """A front whose unit is shown."""
    return Path(shutil.copy(ROOT / "results/pareto_r20_cifar100_subset30k.json", path))


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (made.searches, lambda record: record["metrics"][0].update(bits=None)),  # fails in the sections of all records
        (committed_front, lambda record: record.update(unit={"a": 1})),
        (committed_front, lambda record: record.update(unit=["a"])),
    ],
)
@pytest.mark.parametrize("shown", [report_all, html_report])
def test_a_record_with_another_value_is_named(
    results: Path, make: Callable[[Path], Path], change: Callable[[dict], None], shown: Callable[[Path], str]
) -> None:
    made.pipeline(results / "fine.json")
    path = make(results / "odd.json")
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(EANError, match=r"record .*odd.json is of kind .* but lacks what the report shows of it"):
        shown(results)
