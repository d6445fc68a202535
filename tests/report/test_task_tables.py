"""Trained networks of every task in tables beside the paper's figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ean_core.io.records import write_record
from ean_core.report import overview, report_all
from ean_core.report.results import Results
from ean_core.report.table3 import network_of
from tests.helpers import report_records as made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return made.new_directory(tmp_path / "results")


def test_counting_runs_of_one_set_up_stand_in_one_table_with_the_papers_row_and_the_guess(results: Path) -> None:
    made.counting(results / "b.json", attention="se", scheme="010100101", mae=90.0)
    made.counting(results / "a.json", attention="se", scheme="111111111", mae=95.0)
    made.counting(results / "c.json", attention=None)
    text = report_all(results).partition("## Table 3")[2]
    rows = [line for line in text.splitlines() if line.startswith("|") and "±" in line]
    assert [row for row in rows if "last epoch" not in row] == [
        "| Org | 2 | 101.0 ± 0.5 | 151.0 ± 0.5 | 0.250 ± 0.500 | 342,305 | – | – |",
        "| Share-full SE | 2 | 96.0 ± 0.5 | 151.0 ± 0.5 | 0.250 ± 0.500 | 342,305 | 89.9 | 140.2 |",
        "| EAN SE | 2 | 91.0 ± 0.5 | 151.0 ± 0.5 | 0.250 ± 0.500 | 342,305 | 79.4 | 127.7 |",
    ]
    assert "| always the mean count | – | 271.5 | – | – | – | – | – |" in text
    assert text.count("**Crowd counting, ShanghaiTech A**") == 1
    assert "EAN `010100101`" in text
    made.counting(results / "longer.json", attention=None, epochs=80)
    assert report_all(results).partition("## Table 3")[2].count("**Crowd counting, ShanghaiTech A**") == 2


def test_parts_trained_on_together_have_a_row_each(results: Path) -> None:
    path = made.counting(results / "both.json", attention=None)
    record = json.loads(path.read_text())
    errors = record["metrics"]["best"]
    record["settings"]["data"]["name"] = "part_A+part_B"
    for name in ("best", "final"):
        record["metrics"][name] = {"part_A": errors, "part_B": {**errors, "mae": {**errors["mae"], "mean": 9.0}}}
    record["metrics"]["always_the_mean"] = {"part_A": {"mae": 271.5}, "part_B": {"mae": 70.5}}
    path.write_text(json.dumps(record))
    text = report_all(results).partition("## Table 3")[2]
    assert "**Crowd counting, ShanghaiTech A and ShanghaiTech B**" in text
    assert "| Org, on ShanghaiTech A | 2 | 101.0 ± 0.5 |" in text
    assert "| Org, on ShanghaiTech B | 2 | 9.0 ± 0.5 |" in text
    assert "| always the mean count, on ShanghaiTech B | – | 70.5 |" in text
    (row,) = overview.counting(Results.read(results))
    assert [(figures.title, figures.ours[0], figures.paper[0]) for figures in row.rows] == [
        ("ShanghaiTech A, MAE ↓", "101.0 ± 0.5", "–"),
        ("ShanghaiTech B, MAE ↓", "9.0 ± 0.5", "–"),
    ]
    assert "--part A B" in row.command


def test_networks_are_named_by_their_scheme() -> None:
    assert network_of({"attention": None}) == ("Org", "")
    assert network_of({"attention": "se", "scheme": "0000"}) == ("Org", "")
    assert network_of({"attention": "se", "scheme": None}) == ("Share-full", "se")
    assert network_of({"attention": "se", "scheme": "11 | 11"}) == ("Share-full", "se")
    assert network_of({"attention": "se", "scheme": None, "sharing": "block"}) == ("Org-full", "se")
    assert network_of({"attention": "dia", "scheme": [0, 1]}) == ("EAN", "dia")


def test_one_seeds_result_and_a_test_of_files_are_shown_too(results: Path) -> None:
    figures = {"mae": 80.04, "rmse": 120.0, "nae": 0.2}
    settings = {"data": "part_B"}
    write_record(results / "test.json", kind="counting", settings=settings, metrics={"best": figures, "parameters": 5})
    assert "| best | 80.0 | 120.0 | 0.200 |" in report_all(results)


def test_segmentation(results: Path) -> None:
    made.segmentation(results / "voc.json")
    text, ours = (
        report_all(results),
        "| EAN-SE, pretrained | 2 | 42.50 ± 0.50 | 60.50 ± 0.50 | 90.50 ± 0.50 | 400,000 |",
    )
    assert f"{ours}\n" in text  # nothing of the paper's beside other images
    assert "Not a VOC 2012 result" in text
    made.segmentation(results / "voc.json", images=1449)
    assert f"{ours} 73.68 | 83.08 | 93.79 |\n" in report_all(results)
    assert "442 training and 443 validation images" in text
    assert "| cat | – | – |" in report_all(results)


def test_single_segmentation_runs_are_brought_together_by_network(results: Path) -> None:
    for seed, miou in enumerate((40.0, 42.0)):
        last = {"mIoU": miou, "mAcc": 50.0, "aAcc": 80.0, "classes": []}
        settings = {
            **{"title": "demo", "head": "FCNHead", "iterations": 9, "batch_size": 4, "crop": None, "optim_wrapper": {}},
            **{"backbone": {"arch": "resnet29"}, "weights": None, "seed": seed, "note": None},
            "data": {"train": {"images": 5}, "val": {"images": 6}},
        }
        metrics = {"network": "Org", "last": last, "parameters": 7}
        write_record(results / f"seed{seed}.json", kind="segmentation-run", settings=settings, metrics=metrics)
    assert "| Org, random | 2 | 41.00 ± 1.41 | 50.00 ± 0.00 | 80.00 ± 0.00 | 7 |\n" in report_all(results)


def test_schemes_trained_again_stand_beside_the_papers_table_4(results: Path) -> None:
    made.retrained(results / "again.json")
    text = report_all(results).partition("## Table 4")[2]
    rows = [line for line in text.splitlines() if line.startswith("| ") and "±" in line]
    assert rows == [
        "| Org | 40.50 ± 0.50 | 0 | 4/9 | `010 \\| 100 \\| 101` | – | – |",
        "| random, GA | 42.50 ± 0.50 | 7.0 (6.0 to 8.0) | 4/9 | `010 \\| 100 \\| 101` | 76.09 | 26.10 |",
    ]
    drawn = [line for line in report_all(results).splitlines() if line.startswith("| ours, resnet20 ")]
    assert drawn == ["| ours, resnet20 | random, GA | `010` | `100` | `101` | 4/9 | 42.50 ± 0.50 |"]


def test_the_four_rows_of_hsp_have_the_papers_figures(results: Path) -> None:
    """HSP (0101..) is one row of the paper's Table 4, and `hsp` alone, the best of many patterns, is none."""
    path = made.retrained(results / "again.json")
    record = json.loads(path.read_text())
    record["metrics"][1]["methods"] = ["hsp:period=2:offset=1", "hsp"]
    path.write_text(json.dumps(record))
    text = report_all(results)
    assert (
        "| HSP (0101..), HSP | 42.50 ± 0.50 | 7.0 (6.0 to 8.0) | 4/9 | `010 \\| 100 \\| 101` | 74.87 | 26.62 |" in text
    )
    for row in ("1010..", "0101..", "100100..", "010010.."):
        assert f"| HSP ({row}) | " in text  # the paper's table itself


def test_what_an_accuracy_is_stands_beside_the_papers(results: Path) -> None:
    """Ours is the last epoch's; the best test epoch's, which such code publishes, is shown where it was logged."""
    path, said = made.pipeline(results / "run.json"), "Ours is the last epoch's accuracy"
    assert said in report_all(results)
    assert "Best test epoch" not in report_all(results)
    record = json.loads(path.read_text())
    record["metrics"][0]["best_epoch_top1"] = made.spread(41.0, 42.0)
    path.write_text(json.dumps(record))
    assert "Best test epoch, for comparison with published figures only: Org 41.50 ± 0.50 %." in report_all(results)
    assert "| Org | 40.50 ± 0.50 |" in report_all(results)
    made.retrained(results / "again.json")
    assert report_all(results).count(said) == 2
    made.use_own_images(path)
    assert report_all(results).count(said) == 1


def test_rmse_says_once_a_table_what_papers_call_it(results: Path) -> None:
    made.counting(results / "a.json", attention=None)
    heads = [line for line in report_all(results).splitlines() if "| MAE |" in line]
    assert len(heads) == 2  # the paper's table and ours
    assert all(line.count("RMSE (papers: MSE)") == 1 for line in heads)
    assert "paper: RMSE" in heads[1]
