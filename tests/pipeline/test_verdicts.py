"""The sentences after the table: which networks are compared, by what, and what is kept for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from classification.task import TOP1
from ean_core import Scheme
from ean_core.io.records import read_record
from ean_core.networks.network_file import load_network
from ean_core.pipeline.pipeline import retrain_and_summarize
from ean_core.pipeline.retrain import Target, TrainedTarget, make_target, pack_results, train_network, unpack_results
from ean_core.pipeline.task import Metric
from ean_core.pipeline.verdicts import compare_one_seed, comparison_sentences
from ean_core.report.results import Record
from ean_core.report.table1 import run_notes
from ean_core.utils.comparison_sentences import ONE_SEED, corrected_sentences, pairs_of
from tests.pipeline.conftest import MakeJob
from tests.pipeline.test_any_task import make_job

MAE = Metric("mae", "MAE", "people", higher_is_better=False)


def test_what_is_compared_with_what() -> None:
    assert pairs_of(["org", "share-full", "ean"]) == [("ean", "org"), ("ean", "share-full"), ("share-full", "org")]
    assert pairs_of(["org-full", "org"]) == [("org-full", "org")]
    assert pairs_of(["share-full", "ean-a", "ean-b"]) == [("ean-a", "share-full"), ("ean-b", "share-full")]
    assert pairs_of(["org"]) == pairs_of([]) == []


def test_results_of_images_are_packed_and_unpacked() -> None:
    for count in (1, 8, 1003):
        right = np.random.default_rng(count).random(count) < 0.5
        again = unpack_results(json.loads(json.dumps(pack_results(right))))
        assert again.dtype == bool
        assert np.array_equal(again, right)
    assert len(json.dumps(pack_results(np.ones(10000, bool)))) < 1800
    errors = np.array([1.5, 0.1])
    assert np.array_equal(unpack_results(json.loads(json.dumps(pack_results(errors)))), errors)
    assert unpack_results(None) is None


def test_one_seed_is_compared_image_by_image(job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = job("run", **{"train.epochs": 1})
    targets = [make_target(run, "org"), make_target(run, "111000101", label="ean")]
    retrain_and_summarize(run, targets, tmp_path / "run/summary.json")
    right = {}
    for target in targets:
        directory = run.directory / target.directory(0)
        right[target.label] = unpack_results(read_record(directory / "result.json")["metrics"]["per_image"])
        network, _ = load_network(directory / "classifier.pth")  # against a loop over the test images in their order
        images = run.task.data.test
        normalize = run.task.images.normalize(channels_last=False)
        with torch.no_grad():
            predicted = network(normalize(images.images)).argmax(1)
        assert np.array_equal(right[target.label], (predicted == images.labels).numpy())
    sentence, advice = read_record(tmp_path / "run/summary.json")["comparisons"]
    assert advice == ONE_SEED
    assert [sentence] == corrected_sentences([compare_one_seed(right["ean"], right["org"], "EAN", "Org", TOP1)])
    assert f"{int(right['ean'].sum())} and {int(right['org'].sum())} of 500 test images right" in sentence
    printed = capsys.readouterr().out
    assert printed.index("time increment") < printed.index(sentence)
    path = tmp_path / "run/summary.json"
    assert run_notes(Record("summary.json", json.loads(path.read_text()), path))[-2:] == (sentence, ONE_SEED)

    result = run.directory / "org-seed0/result.json"  # as versions before this one wrote it
    content = json.loads(result.read_text())
    del content["metrics"]["per_image"]
    result.write_text(json.dumps(content))
    increments = [row["time_increment"] for row in read_record(path)["metrics"]]
    retrain_and_summarize(job("run", resume=True, **{"train.epochs": 1}), targets, path)
    assert read_record(path)["comparisons"] == []
    assert [row["time_increment"] for row in read_record(path)["metrics"]] == increments, "measured again"


def test_several_seeds_are_compared_seed_by_seed() -> None:
    def trained(label: str, values: list[float]) -> TrainedTarget:
        target = Target(label, None, Scheme.all_off((3, 3, 3)))
        return TrainedTarget(target, FakeTask(), (0, 1, 2, 3, 4, 5), (), {"top1": tuple(values)}, (None,) * 6)

    class FakeTask:
        metrics = (TOP1,)

    org = [60.1, 60.9, 60.4, 60.7, 60.2, 60.8]
    better = [value + gain for value, gain in zip(org, [0.8, 0.9, 1.0, 1.1, 1.2, 1.3], strict=True)]
    level = [value + gain for value, gain in zip(org, [0.1, -0.1, 0.2, -0.2, 0.1, 0.0], strict=True)]
    said = comparison_sentences([trained("org", org), trained("share-full", level), trained("ean", better)])
    assert [sentence.split(":")[0] for sentence in said] == [
        "EAN is better than Org",
        "EAN is better than Share-full",
        "Share-full and Org are level within 0.5 points",
    ]
    assert said[0].startswith("EAN is better than Org: +1.05 points of test accuracy (95 % interval ")
    assert said[0].endswith("6 seeds, p = 0.031 corrected for 3 comparisons).")
    assert comparison_sentences([trained("org", org), trained("ean, enas", better)], {"ean, enas": "EAN and ENAS"})[
        0
    ].startswith("EAN and ENAS is better than Org: +1.05")


def test_lower_errors_are_better(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first, second = np.array([80.0, 81.0, 82.5, 79.0] * 5), np.array([85.0, 86.5, 86.0, 84.0] * 5)
    (sentence,) = corrected_sentences([compare_one_seed(first, second, "EAN", "Org", MAE)])
    assert sentence.startswith(
        "EAN is better than Org on images like these: -4.75 people of test MAE on 20 test images"
    )
    assert compare_one_seed(first, None, "EAN", "Org", MAE) is None
    job = make_job(tmp_path)  # errors of 90 and 92 people, with two seeds
    retrain_and_summarize(job, [make_target(job, "org"), make_target(job, "001000010")], tmp_path / "s.json")
    (sentence,) = read_record(tmp_path / "s.json")["comparisons"]
    assert "EAN 001000010 and Org can be shown with 2 seeds: -10.00 people of test MAE (95 % interval -10" in sentence
    assert sentence in capsys.readouterr().out


def test_a_finished_network_keeps_its_results(job: MakeJob) -> None:
    org = make_target(job("run"), "org")
    directory = train_network(job("run", **{"train.epochs": 1}), org, seed=0)
    before = (directory / "result.json").read_bytes()
    train_network(job("run", resume=True, **{"train.epochs": 1}), org, seed=0)
    assert (directory / "result.json").read_bytes() == before
