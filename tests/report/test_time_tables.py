"""Times of networks, of connections and of attentions in tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.io.records import write_record
from ean_core.report import report, report_all
from tests.helpers import report_records as made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return made.new_directory(tmp_path / "results")


def test_times_of_connections_and_the_pareto_front(results: Path) -> None:
    made.latency(results / "latency.json")
    made.pareto(results / "pareto.json")
    text = report_all(results)
    assert "| stage 2 | 2 | 3.00 | 2.00 | 4.00 |" in text
    assert "| all connected | 3 | 7.00 | – | – |" in text
    assert "Percent of Org's time (250.0 ms)" in text
    assert "| `101` | 2 | 3.00 | 3.50 (3.25 to 3.75) | -0.50 |" in text
    assert "is -0.50 points on average and 0.50 at most; 0 of 1 predictions lie in their interval." in text
    assert "they are 0.50 points too low on average" in LatencyTable.load(results / "latency.json").bias_warning
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
        seconds = [1.0] * 5 if ratio == 1 else [1.0] * 3
        return {"times_as_fast": interval, "megapixels_per_second": 1.584, "peak_mib": memory, "seconds": seconds}

    metrics: dict = {"2 megapixels": {"whole": row(1.0, 1696.4), "tiles": row(0.5, 860.0)}}
    for name in below:
        metrics = {name: metrics}
    settings = {"arch": "resnet29", "rounds": 3}
    write_record(results / "large.json", kind="speed", settings=settings, metrics=metrics)
    for text in (report_all(results), report_all(results)):
        assert "| 2 megapixels, whole | 1.58 | 1.00 (1.00 to 1.00) | 1,696 |" in text
        assert "| 2 megapixels, tiles | 1.58 | 0.50 | 860 |" in text, "three rounds are too few for an interval"
        assert "counter over resnet29; speed-up over the first of its size; 3 rounds interleaved" in text
