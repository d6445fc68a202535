"""A table for every kind of record, beside the paper's figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ean_core.io.records import write_record
from ean_core.report import html_report, report, report_all
from ean_core.report.results import assign_pictures
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


def test_searches_are_summed_up_over_landscapes_in_the_short_tables(results: Path) -> None:
    made.searches(results / "land.json")
    text = report_all(results)
    assert "| EAN (natural) | highest reward seen | 0.75 (0.12 to 1.38) |" in text
    assert "| EAN (natural) | most probable | 0.12 (0.00 to 1.00) |" in text
    full = report_all(results)
    assert "| EAN (natural), highest reward seen | 0.50 (0.25 to 0.75) | 1.00 (0.00 to 2.00) |" in full
    assert "| EAN (natural), most probable | – | 0.12 (0.00 to 1.00) |" in full


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
    assert "| EAN | 3 | 0.25 (0.15 to 0.35) | – | 35.00 ± 0.10 | 3.0 ± 0.1 | 40 |" in report_all(results)
    text = report_all(results)
    assert "| EAN | 30 | 28 | 30.00 ± 1.00 | 0.81 | 4e-07 | 0.020 |" in text
    assert "| paper: EAN | 40 | – | 75.10 ± 0.45 | 0.81 | 4e-07 | – |" in text
    assert "| method | after 1 proposals | after 2 proposals | after 5 proposals |" in text
    assert "| EAN | 0.50 | 0.50 | 0.50 | 0.50 | 0.75 |" in text
    made.comparison(results / "compared.json", smoothed=True)
    assert "| regret of the most probable | regret of the smoothed best |" in report_all(results)
    assert "| EAN | 3 | 0.25 (0.15 to 0.35) | – | 1.25 (1.15 to 1.35) | 35.00 ± 0.10 | 3.0 ± 0.1 | 40 |" in report_all(
        results
    )


def test_a_comparisons_picture_stands_on_the_page_once(results: Path) -> None:
    made.comparison(results / "a.json")
    titles = [f"<h3>{title}, CIFAR-100, ResNet-20</h3>" for title in ("The searches", "Figure 4", "Figure 5")]
    page = html_report(results)
    assert all(title in page for title in titles)  # drawn for the page
    made.picture(results / "a.png")
    made.picture(results / "a.figure5.png")
    page = html_report(results)
    assert [title in page for title in titles] == [False, True, False]


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
    use_own_images(path)
    assert report_all(results).count(said) == 1


def test_what_a_record_of_searches_says_of_itself_is_shown(results: Path) -> None:
    path = made.searches(results / "searches.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "note": "without one method"}))
    assert "blocks: Without one method." in report_all(results)
    assert report_all(results).count("Without one method.") == 2  # in the summary and below the record's own table


def test_rmse_says_once_a_table_what_papers_call_it(results: Path) -> None:
    made.counting(results / "a.json", attention=None)
    heads = [line for line in report_all(results).splitlines() if "| MAE |" in line]
    assert len(heads) == 2  # the paper's table and ours
    assert all(line.count("RMSE (papers: MSE)") == 1 for line in heads)
    assert "paper: RMSE" in heads[1]


def test_nothing_of_the_papers_stands_beside_searches_on_other_images(results: Path) -> None:
    for path in (made.comparison(results / "a.json"), made.retrained(results / "b.json")):
        use_own_images(path)
    use_own_images(made.correlation(results / "c.json"))
    text = report_all(results)
    assert "Figure 4: searched against random schemes, own images, ResNet-20" in text
    assert "paper: EAN" not in text
    assert "Paper: accuracy from scratch" not in text
    assert "| random, GA | 42.50 ± 0.50 | 7.0 (6.0 to 8.0) | 4/9 | `010 \\| 100 \\| 101` |\n" in text
    assert "paper (42 schemes)" not in text


def use_own_images(path: Path) -> None:
    """Make a record one of a user's own images."""
    record = json.loads(path.read_text())
    record["settings"]["data"]["name"] = "folder"
    path.write_text(json.dumps(record))


def test_times_of_connections_and_the_pareto_front(results: Path) -> None:
    made.latency(results / "latency.json")
    made.pareto(results / "pareto.json")
    text = report_all(results)
    assert "| stage 2 | 2 | 3.00 | 2.00 | 4.00 |" in text
    assert "| all connected | 3 | 7.00 | – | – |" in text
    assert "Percent of Org's time (250.0 ms)" in text
    assert "| `101` | 2 | 3.00 | 3.50 (3.25 to 3.75) | -0.50 |" in text
    assert "of 27 scored schemes; resnet29, SE, CIFAR-100, EAN" in text
    assert "](../results/pareto.png)" in text


def test_attentions_from_the_cheapest(results: Path) -> None:
    made.zoo(results / "zoo.json")
    text = report_all(results)
    rows = [
        line for line in text.splitlines() if line.endswith("(15.0 to 35.0) |") or line.endswith("(65.0 to 85.0) |")
    ]
    assert rows == [
        "| timm:eca | 9/9 | 1,003 | 3 | 2.000 | 25.0 (15.0 to 35.0) |",
        "| SE | 9/9 | 1,090 | 90 | 2.000 | 75.0 (65.0 to 85.0) |",
    ]
    assert "Left out: timm:x: no." in text


def test_speed_is_told_in_words(results: Path) -> None:
    made.speed(results / "speed_scoring_cpu.json")
    text = report_all(results)
    assert "**Scoring schemes** ([record](../results/speed_scoring_cpu.json))" in text
    assert "| name | schemes/s | speed-up |" in text
    assert "record of kind" not in text
    assert "| ours | 2.5 | 2.50 (2.25 to 2.75) |" in text


def test_the_figures_of_an_unknown_kind_are_shown_as_they_are(results: Path) -> None:
    rows = [{"n": 3, "name": "a", "ok": True, "deep": {"x": {}}}, {"n": 4, "name": "b", "top1": made.spread(1, 2)}]
    write_record(results / "strange.json", kind="tea-leaves", settings={}, metrics=rows)
    text = report_all(results)
    assert "| name | n | ok | top1 |" in text
    assert "| a | 3 | yes | – |" in text
    assert "| b | 4 | – | 1.50 ± 0.50 |" in text


def test_whole_networks_of_a_config_and_several_records_of_one_network(results: Path) -> None:
    content = json.loads(made.times(results / "seg.json").read_text())
    del content["settings"]["arch"], content["metrics"][1]["multiply_adds"]
    content["settings"]["config"] = "segmentation/configs/ean_se_voc.py"
    (results / "seg.json").write_text(json.dumps(content))
    text = report_all(results)
    assert "**Time increment (Eq. 9), segmentors of EAN SE VOC, batch 50**" in text
    assert "| EAN SE | 27/54 | 1,738,512 | – | 25.0 (15.0 to 35.0) | 25.0 (15.0 to 35.0) |" in text
    made.times(results / "cpu.json")
    content = json.loads(made.times(results / "a_gpu.json").read_text())
    content["environment"] |= {"device_type": "cuda", "device": "a GPU"}
    (results / "a_gpu.json").write_text(json.dumps(content))
    assert "timed (eager): a GPU" in report_all(results)  # in Table 1, where there is one for each network
    assert "([record](results/a_gpu.json))" in report(results)
    assert report(results).count("time increment, %") == 1


def test_the_times_of_a_counter_are_not_those_of_its_backbone(results: Path) -> None:
    content = json.loads(made.times(results / "counter.json").read_text())
    content["settings"]["counter"] = True
    (results / "counter.json").write_text(json.dumps(content))
    text = report_all(results)
    assert "**Time increment (Eq. 9), counters over ResNet-164, batch 50**" in text
    assert "| EAN SE | 27/54 | 1,738,512 | 0.248 | 25.0 (15.0 to 35.0) | 25.0 (15.0 to 35.0) |\n" in text
    assert "time increment of ResNet-164: no record yet" in text
    assert "Batch 50, 32 pixels, 20 rounds interleaved" in text
    made.times(results / "classifier.json")
    assert "([record](results/classifier.json))" in report(results)
    assert "| 25.0 (15.0 to 35.0) | 23.52 |" in report_all(results)


def test_correlation_and_batch_norm(results: Path) -> None:
    made.correlation(results / "study.json")
    made.batch_norm(results / "norm.json")
    text = report_all(results)
    assert "| supernet, batch norm running | 0.50 (-0.25 to 0.75) |" in text
    assert "| a score without error, at most | 0.62 (0.50 to 0.75) | – | – |" in text
    assert "accuracies of one scheme deviate by 0.60 points between seeds" in text
    assert "| paper (42 schemes) | 0.71 | – | – |" in text
    assert "10 of 12 schemes trained" in text
    assert "| running statistics | 16.00 | 23.00 | 30.00 | 34.00 | 32.00 | 2.83 |" in report_all(results)
    assert "95 % bootstrap intervals over schemes; " in text
    record = json.loads((results / "study.json").read_text())
    record["metrics"]["ceiling"]["interval"] = "jackknife"
    (results / "study.json").write_text(json.dumps(record))
    assert "bootstrap intervals over schemes, of a score without error by a jackknife; " in report_all(results)


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
        "*counting on ShanghaiTech B",
    ]


def test_pictures_belong_to_the_record_with_the_longest_fitting_name() -> None:
    here = Path("r")
    names = ["run.png", "run.search.png", "run_2.png", "run_2_b.png", "run/3.png", "running.png"]
    found = assign_pictures([here / name for name in names], ["run", "run_2"], here)
    assert {stem: [path.as_posix()[2:] for path in paths] for stem, paths in found.items()} == {
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


def test_the_forms_of_networks_stand_side_by_side(results: Path) -> None:
    def row(increment: float | None, over: float) -> dict:
        inexact = {"value": over, "low": over - 0.1, "high": over + 0.1}
        more = None if increment is None else {"value": increment, "low": increment, "high": increment}
        return {"timing": {"seconds": [1.0]}, "increment": more, "time_over_plain_org": inexact}

    forms = {
        "plain": {"Org": row(None, 0.0), "EAN se": row(0.2, 0.2)},
        "folded": {"Org": row(None, -0.5), "EAN se": row(0.05, -0.4)},
    }
    settings = {"arch": "resnet164", "batch_size": 50, "rounds": 9, "threads": 2}
    write_record(results / "network.json", kind="speed", settings=settings, metrics=forms)
    for text in (report_all(results), report_all(results)):
        assert "| EAN SE | 20.0 (20.0 to 20.0) | 5.0 (5.0 to 5.0) |" in text
        assert "| Org: speed-up over plain | 1.00 (0.91 to 1.11) | 2.00 (1.67 to 2.50) |" in text
    assert "| EAN SE | 0.83 (0.77 to 0.91) | 1.67 (1.43 to 2.00) |" in report_all(results)


@pytest.mark.parametrize("below", [("prediction",), ()])
def test_large_images_have_their_memory_beside_their_speed(results: Path, below: tuple[str, ...]) -> None:
    def row(ratio: float, memory: float) -> dict:
        interval = {"value": ratio, "low": ratio, "high": ratio}
        return {"times_as_fast": interval, "megapixels_per_second": 1.584, "peak_mib": memory, "seconds": [1.0]}

    metrics: dict = {"2 megapixels": {"whole": row(1.0, 1696.4), "tiles": row(0.5, 860.0)}}
    for name in below:
        metrics = {name: metrics}
    settings = {"arch": "resnet29", "rounds": 3}
    write_record(results / "large.json", kind="speed", settings=settings, metrics=metrics)
    for text in (report_all(results), report_all(results)):
        assert "| 2 megapixels, whole | 1.58 | 1.00 (1.00 to 1.00) | 1,696 |" in text
        assert "counter over resnet29; speed-up over the first of its size; 3 rounds interleaved" in text


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
