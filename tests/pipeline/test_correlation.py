"""tools/correlation.py: what is drawn, scored, trained once, and reported."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from classification.recipe import Recipe
from classification.task import ClassificationTask
from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.networks.checkpoint import load_network
from ean_core.pipeline.correlation.show import draw_correlations, print_summary
from ean_core.pipeline.correlation.study import WAYS, Study, count_scored, draw_schemes, prepare
from ean_core.pipeline.correlation.summary import report_study, study_figures, summarize_study
from ean_core.pipeline.correlation.training import read_test_results, start_workers, train_remaining, visible_gpus
from ean_core.pipeline.retrain import make_target, train_network
from ean_core.pipeline.task import Metric
from tests.conftest import ROOT, Run
from tests.pipeline.conftest import MakeJob

ACCURACY = ClassificationTask.metrics[0]
FAST = {"supernet.epochs": 1, "supernet.val_interval": 0, "train.epochs": 1}


@pytest.mark.parametrize("blocks", [(3, 3, 3), (18, 18, 18), (1, 1, 2)])
def test_schemes_are_different_spread_and_extendable(blocks: tuple[int, ...]) -> None:
    m = sum(blocks)
    count = min(2**m, 40)
    schemes = draw_schemes(blocks, count, seed=3)
    assert len({scheme.text for scheme in schemes}) == count
    assert schemes[:2] == [Scheme.all_on(blocks), Scheme.all_off(blocks)]
    for shorter in range(4, count):
        assert draw_schemes(blocks, shorter, seed=3) == schemes[:shorter]
    if m > 4:  # every third of the range gets its part, which fair bits would not give
        counts = np.array([scheme.connections for scheme in schemes[2:16]])
        thirds = np.histogram(counts, bins=[1, (m - 1) / 3 + 1, 2 * (m - 1) / 3 + 1, m])[0]
        assert thirds.min() >= 3
        assert draw_schemes(blocks, count, seed=4) != schemes


@pytest.mark.parametrize("count", [3, 513])
def test_impossible_numbers_of_schemes_are_refused(count: int) -> None:
    with pytest.raises(EANError, match=f"4 to 512 schemes for a network of 9 blocks, got {count}"):
        draw_schemes((3, 3, 3), count, seed=0)


def test_scores_trainings_and_report_of_a_study(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    study = Study(job("study", **FAST), count=5, images=40)
    scores = prepare(study)
    network, _ = load_network(study.supernet)
    for way, images in (("running", 0), ("re-estimated", 40)):  # against scorers made by hand
        one = study.job.replace_recipe(search=dataclasses.replace(study.job.search, bn_images=images))
        assert one.task.make_scorer(network)(study.schemes) == scores[way]

    report_study(study, scores, last=True)  # nothing trained yet: no correlation, and no picture
    assert "0 of 5 schemes trained: a correlation needs 4" in capsys.readouterr().out
    assert "correlations" not in read_record(tmp_path / "study/correlation.json")["metrics"]
    assert not (tmp_path / "study/correlation.png").exists()

    trainings = train_remaining(study)
    for _ in range(4):
        next(trainings)
    report_study(study, scores, last=False)
    assert "4 of 5 schemes trained; rho" in capsys.readouterr().out
    assert len(list(trainings)) == 1
    report_study(study, scores, last=True)
    record = read_record(tmp_path / "study/correlation.json")
    assert (record["kind"], record["metrics"]["trained"]) == ("correlation", 5)
    accuracies = [values[0] for values in read_test_results(study)]
    direct = [read_record(study.training_directory(one, 0) / "result.json")["metrics"]["top1"] for one in study.schemes]
    assert accuracies == direct
    found = record["metrics"]["correlations"]
    assert list(found) == ["running", "re-estimated", "connections"]
    counts = [scheme.connections for scheme in study.schemes]
    expected = stats.spearmanr(counts, accuracies).statistic
    assert found["connections"]["spearman"]["value"] == pytest.approx(expected)
    assert (tmp_path / "study/correlation.png").read_bytes()[:4] == b"\x89PNG"
    assert record["metrics"]["spread"]["trained"]["seed_deviation"] is None
    assert record["metrics"]["ceiling"] is None

    again = dataclasses.replace(study, job=dataclasses.replace(study.job, resume=True), count=6)
    assert prepare(again)["running"][:5] == scores["running"]
    monkeypatch.setattr(ClassificationTask, "make_scorer", None)  # all is known now: nothing is scored again
    prepare(again)
    with pytest.raises(EANError, match="holds an earlier run"):
        prepare(study)
    with pytest.raises(EANError, match="images = 40, and this run has 41"):
        prepare(dataclasses.replace(again, images=41))


def test_what_another_process_trains_or_has_trained_is_left_to_it(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(job("study", **FAST), count=4, images=40)
    prepare(study)
    first, second = study.schemes[:2]
    train_network(study.job, study.target(first), seed=0)
    place = study.training_directory(second, 0)
    script = (
        "import sys, time\nfrom filelock import FileLock\n"
        "with FileLock(sys.argv[1]):\n print('held', flush=True)\n time.sleep(60)"
    )
    lock = tmp_path / "study/locks" / f"{place.name}.lock"
    with subprocess.Popen([sys.executable, "-c", script, lock], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert [one.name for one in train_remaining(study)] == [
            study.training_directory(s, 0).name for s in study.schemes[2:]
        ]
        other.kill()  # its lock ends with it
        other.wait()
    assert list(train_remaining(study)) == [place]
    assert list(train_remaining(study)) == []
    assert all(len(values) == 1 for values in read_test_results(study))


def test_several_seeds_are_averaged_and_their_deviation_is_told(job: MakeJob, capsys: pytest.CaptureFixture) -> None:
    study = Study(job("study", **FAST, seeds=[0, 1]), count=4, images=40)
    scores = {way: [1.0, 2.0, 3.0, 4.0] for way in WAYS}
    found = summarize_study(study, scores, [[10.0, 12.0], [11.0, 13.0], [20.0, 24.0], [30.0]])
    assert found["schemes"][2]["top1"]["mean"] == 22
    expected = np.sqrt((2 + 2 + 8) / 3)
    assert found["spread"]["trained"]["seed_deviation"] == pytest.approx(expected)
    assert found["correlations"]["running"]["spearman"]["value"] == pytest.approx(1.0)
    assert 0.9 < found["ceiling"]["value"] < 1
    assert found["ceiling"]["interval"] == "jackknife"
    print_summary(found, metric=ACCURACY)
    assert f"{found['ceiling']['value']:+.2f} (" in capsys.readouterr().out


def test_the_committed_record_holds_what_its_values_give_and_is_drawn_again(tmp_path: Path) -> None:
    record = read_record(ROOT / "results/correlation_r20_cifar100_subset30k.json")
    images, held = record["settings"]["images"], record["metrics"]
    found = study_figures(
        held["schemes"],
        score=ClassificationTask.score,
        metric=ACCURACY,
        validation=images["validation"],
        test=images["test"],
    )
    assert found.keys() == held.keys()
    assert found["ceiling"] == pytest.approx(held["ceiling"])
    for way, coefficients in held["correlations"].items():
        for name, one in coefficients.items():
            assert found["correlations"][way][name] == pytest.approx(one)
    for way, one in held["spread"].items():
        assert found["spread"][way] == pytest.approx(one)
    assert draw_correlations(tmp_path / "a.png", record, metric=ACCURACY).read_bytes()[:4] == b"\x89PNG"


def test_a_metric_that_is_no_share_of_images_has_no_standard_error(capsys: pytest.CaptureFixture) -> None:
    error = Metric("mae", "mean absolute error", "people", higher_is_better=False)
    rows = [
        {
            "bits": bits,
            "connections": n,
            "scores": dict.fromkeys(WAYS, 50.0 + n),
            "mae": {"mean": m, "values": [m, m + 2]},
        }
        for n, (bits, m) in enumerate([("00", 90.0), ("01", 80.0), ("10", 85.0), ("11", 70.0)])
    ]
    figures = study_figures(rows, score=ClassificationTask.score, metric=error, validation=40, test=50)
    assert figures["spread"]["trained"]["standard_error"] is None
    assert figures["spread"]["trained"]["range"] == 20
    assert figures["correlations"]["running"]["spearman"]["value"] == pytest.approx(-0.8)
    print_summary(figures, metric=error)
    printed = capsys.readouterr().out
    assert "correlation with test mean absolute error (95 %)" in printed
    assert "test mean absolute error: mean 81.25 people" in printed
    assert "range 20.00 people; deviation between seeds 1.41" in printed


def test_one_study_runs_in_two_processes_and_is_reported_on(
    run: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    short = ("--cfg-options", *(f"{name}={value}" for name, value in FAST.items()))
    options = (str(tiny), "--work-dir", "w", "--images", "40")
    done = run("tools/correlation.py", *options, "--schemes", 4, "--workers", 2, *short)
    assert "4 of 4 schemes trained from scratch" in done.stdout
    assert "Kendall's tau" in done.stdout
    assert "writing to w" in (tmp_path / "w/worker1.log").read_text()
    told = done.stdout + (tmp_path / "w/worker1.log").read_text()
    assert sum(line.startswith("trained w/") for line in told.splitlines()) == 4  # together, and none twice

    monkeypatch.chdir(tmp_path)  # in this process: another one would spend its seconds on imports
    monkeypatch.setattr(sys, "argv", ["tools/correlation.py", *options, "--report", *short])
    runpy.run_path(str(ROOT / "tools/correlation.py"), run_name="__main__")
    assert "4 of 4 schemes trained from scratch" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--schemes", "5"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(ROOT / "tools/correlation.py"), run_name="__main__")
    assert "4 schemes are scored, and --report was asked for 5" in capsys.readouterr().err
    record = json.loads((tmp_path / "w/correlation.json").read_text())
    assert record["settings"]["images"]["reestimation"] == 40


def test_workers_know_with_whom_they_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """See `ean_core.utils.startup`: a killed main process cannot end them itself."""
    monkeypatch.setattr(sys, "argv", ["-c", "import os; print(os.environ['EAN_PARENT'])"])
    with start_workers(1, directory=tmp_path):
        pass
    assert (tmp_path / "worker1.log").read_text() == f"{os.getpid()}\n"


def test_workers_keep_to_the_gpus_that_were_given() -> None:
    assert visible_gpus(None, 3) == ["0", "1", "2"]
    assert visible_gpus("4, 6,7", 3) == ["4", "6", "7"]
    assert visible_gpus("GPU-a,GPU-b", 2) == ["GPU-a", "GPU-b"]
    assert visible_gpus(None, 0) == visible_gpus("", 0) == []


def test_mistakes_are_a_sentence(job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(EANError, match="holds no study to report on: leave out --report"):
        count_scored(tmp_path / "w")
    with pytest.raises(EANError, match="4 to 512 schemes"):
        prepare(Study(job("w"), count=2))
    assert not (tmp_path / "w").exists()


def test_the_studys_recipe_and_a_scheme_trained_by_a_search_fit_together(job: MakeJob) -> None:
    recipe = Recipe.from_file(ROOT / "classification/configs/ean_se_r20_cifar100_subset30k.py")
    assert recipe.supernet.epochs > recipe.train.epochs >= 4
    study = Study(job("study"), count=4)
    scheme = study.schemes[2]
    searched = make_target(study.job, scheme.text, label="ean")
    assert searched.directory(0) == study.target(scheme).directory(0)
    assert searched.spec == study.target(scheme).spec
