"""Searches, correlations and other kinds of records in tables beside the paper's figures; none is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ean_core.io.records import write_record
from ean_core.report import html_report, report_all
from ean_core.report.results import assign_pictures
from tests.helpers import report_records as made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return made.new_directory(tmp_path / "results")


def test_searches_are_summed_up_over_landscapes_in_the_short_tables(results: Path) -> None:
    made.searches(results / "land.json")
    text = report_all(results)
    assert "| EAN (natural) | highest reward seen | 0.75 (0.12 to 1.38) | 60 |" in text
    assert "| EAN (natural) | most probable | 0.12 (0.00 to 1.00) | 80 |" in text
    full = report_all(results)
    assert "| EAN (natural), highest reward seen | 0.50 (0.25 to 0.75) | 1.00 (0.00 to 2.00) | 60 |" in full
    assert "| EAN (natural), most probable | – | 0.12 (0.00 to 1.00) | 80 |" in full


def test_of_two_records_of_a_size_the_one_with_more_landscapes_is_summed_up(results: Path) -> None:
    made.searches(results / "land.json")
    rows = [{"method": "ablated", "landscape": "noise", "bits": 9, "best": [[1, 1, 1]]}]
    methods = {"ablated": {"method": "ablated", "options": {}}}
    settings = {"sizes": {"9": {"evaluations": 100}}, "seeds": 20, "methods": methods}
    write_record(results / "a_why.json", kind="search-benchmark", settings=settings, metrics=rows)
    summed, full = report_all(results).split("**Regret at the end", 1)
    assert "ablated" not in summed
    assert "ablated" in full


def test_search_comparison_with_figures_4_and_5(results: Path) -> None:
    made.comparison(results / "compared.json")
    assert "| EAN | 3 | 0.25 (0.00 to 0.50) | – | 35.00 ± 0.10 | 3.0 ± 0.1 | 40 |" in report_all(results)
    text = report_all(results)
    assert "| EAN | 30 | 28 | 30.00 ± 1.00 | 0.00 | – |" in text, "of one search, whose 30 schemes are one unit"
    assert "| paper: EAN | 40 | – | 75.10 ± 0.45 | 0.81 | 4e-07 |" in text
    assert "| method | after 1 proposals | after 2 proposals | after 5 proposals |" in text
    assert "| EAN | 0.50 | 0.50 | 0.50 | 0.50 | 0.75 |" in text
    made.comparison(results / "compared.json", smoothed=True)
    assert "| regret of the most probable | regret of the smoothed best |" in report_all(results)
    row = "| EAN | 3 | 0.25 (0.00 to 0.50) | – | 1.25 (1.00 to 1.50) | 35.00 ± 0.10 | 3.0 ± 0.1 | 40 |"
    assert row in report_all(results)


def test_a_comparisons_picture_stands_on_the_page_once(results: Path) -> None:
    made.comparison(results / "a.json")
    titles = [f"<h3>{title}, CIFAR-100, ResNet-20</h3>" for title in ("The searches", "Figure 4", "Figure 5")]
    page = html_report(results)
    assert all(title in page for title in titles)  # drawn for the page
    made.picture(results / "a.png")
    made.picture(results / "a.figure5.png")
    page = html_report(results)
    assert [title in page for title in titles] == [False, True, False]


def test_what_a_record_of_searches_says_of_itself_is_shown(results: Path) -> None:
    path = made.searches(results / "searches.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "note": "without one method"}))
    assert "blocks: Without one method." in report_all(results)
    assert report_all(results).count("Without one method.") == 2  # in the summary and below the record's own table


def test_nothing_of_the_papers_stands_beside_searches_on_other_images(results: Path) -> None:
    for path in (made.comparison(results / "a.json"), made.retrained(results / "b.json")):
        made.use_own_images(path)
    made.use_own_images(made.correlation(results / "c.json"))
    text = report_all(results)
    assert "Figure 4: searched against random schemes, own images, ResNet-20" in text
    assert "paper: EAN" not in text
    assert "Paper: accuracy from scratch" not in text
    assert "| random, GA | 42.50 ± 0.50 | 7.0 (6.0 to 8.0) | 4/9 | `010 \\| 100 \\| 101` |\n" in text
    assert "paper (42 schemes)" not in text


def test_the_figures_of_an_unknown_kind_are_shown_as_they_are(results: Path) -> None:
    rows = [{"n": 3, "name": "a", "ok": True, "deep": {"x": {}}}, {"n": 4, "name": "b", "top1": made.spread(1, 2)}]
    write_record(results / "strange.json", kind="tea-leaves", settings={}, metrics=rows)
    text = report_all(results)
    assert "| name | n | ok | top1 |" in text
    assert "| a | 3 | yes | – |" in text
    assert "| b | 4 | – | 1.50 ± 0.50 |" in text


def test_correlation_and_batch_norm(results: Path) -> None:
    made.correlation(results / "study.json")
    made.batch_norm(results / "norm.json")
    text = report_all(results)
    assert "| supernet, batch norm running | 0.50 (-0.19 to 0.86) | 0.50 (" in text, "Fisher's interval of ten pairs"
    assert "| calibrated minus running | 0.50 (-0.25 to 0.75) |" in text
    assert "| a score without error, at most | 0.62 (0.50 to 0.75) | – | – |" in text
    assert "accuracies of one scheme deviate by 0.60 points between seeds" in text
    assert "| paper (42 schemes) | 0.71 | – | – |" in text
    assert "10 of 12 schemes trained" in text
    assert "| running statistics | 16.00 | 23.00 | 30.00 | 34.00 | 32.00 | 2.83 |" in report_all(results)
    assert "95 % intervals by Fisher's z, of the difference by a bootstrap over schemes; " in text
    record = json.loads((results / "study.json").read_text())
    record["metrics"]["ceiling"]["interval"] = "jackknife"
    (results / "study.json").write_text(json.dumps(record))
    assert "by a bootstrap over schemes, of a score without error by a jackknife; " in report_all(results)


def test_an_unknown_kind_is_listed_and_not_lost(results: Path) -> None:
    write_record(results / "strange.json", kind="tea-leaves", settings={}, metrics={})
    made.picture(results / "strange.png")
    text = report_all(results)
    assert "**strange** ([record](../results/strange.json)): Its figures fit no table." in text
    assert "](../results/strange.png)" in text
    assert "tea-leaves" in html_report(results)


def test_no_gap_is_left_for_what_has_a_record(tmp_path: Path) -> None:
    text = report_all(made.every_kind(tmp_path / "results"))
    gaps = [line.split(":")[0] for line in text.splitlines() if "no record yet" in line]
    assert gaps == [
        *("*accuracy on CIFAR-100, ResNet-164", "*accuracy on ImageNet, ResNet-50", "*time increment of ResNet-50"),
        *("*the worth of a trained network's attention calls", "*counting on ShanghaiTech B"),
    ]


def test_pictures_belong_to_the_record_with_the_longest_fitting_name() -> None:
    here = Path("r")
    names = ["run.png", "run.search.png", "run_2.png", "run_2_b.png", "run/3.png", "running.png"]
    pictures = assign_pictures([here / name for name in names], ["run", "run_2"], here)
    assert {stem: [path.as_posix()[2:] for path in paths] for stem, paths in pictures.items()} == {
        "run": ["run.png", "run.search.png", "run/3.png"],
        "run_2": ["run_2.png", "run_2_b.png"],
        "": ["running.png"],
    }


def test_a_correlation_of_what_does_not_vary_is_a_gap(results: Path) -> None:
    nothing = {"value": None, "low": None, "high": None}
    record = json.loads(made.correlation(results / "correlation.json").read_text())
    record["metrics"]["ceiling"] = record["metrics"]["correlations"]["running"]["pearson"] = nothing
    (results / "correlation.json").write_text(json.dumps(record))
    text = report_all(results)
    assert "| a score without error, at most | – | – | – |" in text
    assert "| supernet, batch norm running | – |" in text


def test_figures_of_two_levels_are_rows_too(results: Path) -> None:
    rows = {"scoring": {"1": {"efficiency": 1.0}, "2": {"efficiency": 0.9}}}
    write_record(results / "processes.json", kind="speed", settings={}, metrics=rows)
    assert "| scoring, 2 | 0.9 |" in report_all(results)


def test_a_record_without_a_commit_names_none(results: Path) -> None:
    path = write_record(results / "mine.json", kind="mine", settings={}, metrics={"a": 1})
    content = json.loads(path.read_text())
    for known, text in ((None, "torch 9.9."), ("0123456789+changes", "torch 9.9, commit 01234567 with changes.")):
        content["environment"] |= {"device": "a GPU", "commit": known, "versions": {"torch": "9.9"}}
        path.write_text(json.dumps(content))
        assert f"a GPU, {text}" in report_all(results)
    del content["environment"]["commit"]
    path.write_text(json.dumps(content))
    assert "None" not in report_all(results)
