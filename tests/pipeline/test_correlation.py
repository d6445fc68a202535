"""tools/correlation.py: what is drawn, scored, trained once, and reported."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from classification.recipe import Recipe
from classification.task import TOP1, ClassificationTask
from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.networks.network_file import load_network
from ean_core.pipeline.correlation.groups import print_groups, searched_sentences
from ean_core.pipeline.correlation.selection import (
    SAME_SIZE,
    SEARCHED,
    Groups,
    choose_schemes,
    draw_random,
    draw_same_size,
    draw_schemes,
    nearest_periodic,
)
from ean_core.pipeline.correlation.show import draw_correlations, print_summary
from ean_core.pipeline.correlation.study import WAYS, Study, prepare, scored_groups
from ean_core.pipeline.correlation.summary import report_study, study_figures, summarize_study, write_summary
from ean_core.pipeline.correlation.training import read_test_results, train_remaining
from ean_core.pipeline.retrain import make_target, train_network
from ean_core.pipeline.task import Metric
from tests.conftest import ROOT, Script
from tests.helpers.processes import environment, warm_python
from tests.pipeline.conftest import MakeJob

ACCURACY = TOP1
BLOCKS = (3, 3, 3)
FAST = {"supernet.epochs": 1, "supernet.val_interval": 0, "train.epochs": 1}


def spread(count: int) -> Groups:
    return choose_schemes(BLOCKS, spread=count)


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


@pytest.mark.usefixtures("drawn")
def test_scores_trainings_and_report_of_a_study(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    study = Study(job("study", **FAST), spread(5), images=40)
    scores = prepare(study)
    network, _ = load_network(study.supernet)
    for way, images in (("running", 0), ("re-estimated", 40)):  # against scorers made by hand
        changed = study.job.replace_recipe(search=dataclasses.replace(study.job.search, bn_images=images))
        assert changed.task.make_scorer(network)(study.schemes) == scores[way]

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
    direct = [
        read_record(study.training_directory(scheme, 0) / "result.json")["metrics"]["top1"] for scheme in study.schemes
    ]
    assert accuracies == direct
    correlations = record["metrics"]["correlations"]
    assert list(correlations) == ["running", "re-estimated", "connections"]
    counts = [scheme.connections for scheme in study.schemes]
    expected = stats.spearmanr(counts, accuracies).statistic
    assert correlations["connections"]["spearman"]["value"] == pytest.approx(expected)
    assert (tmp_path / "study/correlation.png").read_bytes()[:4] == b"\x89PNG"
    assert record["metrics"]["spread"]["trained"]["seed_deviation"] is None
    assert record["metrics"]["ceiling"] is None

    again = dataclasses.replace(study, job=dataclasses.replace(study.job, resume=True), groups=spread(6))
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
    study = Study(job("study", **FAST), spread(4), images=40)
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
        assert [path.name for path in train_remaining(study)] == [
            study.training_directory(s, 0).name for s in study.schemes[2:]
        ]
        other.kill()  # its lock ends with it
        other.wait()
    assert list(train_remaining(study)) == [place]
    assert list(train_remaining(study)) == []
    assert all(len(values) == 1 for values in read_test_results(study))


def test_several_seeds_are_averaged_and_their_deviation_is_told(job: MakeJob, capsys: pytest.CaptureFixture) -> None:
    study = Study(job("study", **FAST, seeds=[0, 1]), spread(4), images=40)
    scores = {way: [1.0, 2.0, 3.0, 4.0] for way in WAYS}
    summary = summarize_study(study, scores, [[10.0, 12.0], [11.0, 13.0], [20.0, 24.0], [30.0]])
    assert summary["schemes"][2]["top1"]["mean"] == 22
    expected = np.sqrt((2 + 2 + 8) / 3)
    assert summary["spread"]["trained"]["seed_deviation"] == pytest.approx(expected)
    assert summary["correlations"]["running"]["spearman"]["value"] == pytest.approx(1.0)
    assert 0.9 < summary["ceiling"]["value"] < 1
    assert summary["ceiling"]["interval"] == "jackknife"
    print_summary(summary, metric=ACCURACY)
    assert f"{summary['ceiling']['value']:+.2f} (" in capsys.readouterr().out


@pytest.mark.usefixtures("drawn")
def test_the_committed_record_holds_what_its_values_give_and_is_drawn_again(tmp_path: Path) -> None:
    record = read_record(ROOT / "results/correlation_r20_cifar100_subset30k.json")
    images, held = record["settings"]["images"], record["metrics"]
    figures = study_figures(
        held["schemes"],
        score=ClassificationTask.score,
        metric=ACCURACY,
        validation=images["validation"],
        test=images["test"],
    )
    assert figures.keys() == held.keys()
    assert figures["ceiling"] == pytest.approx(held["ceiling"])
    for way, coefficients in held["correlations"].items():
        for name, one in coefficients.items():
            assert figures["correlations"][way][name]["value"] == pytest.approx(one["value"])  # intervals were others
    for way, one in figures["spread"].items():
        assert one == pytest.approx({name: held["spread"][way][name] for name in one})
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
    assert "correlation with test mean absolute error" in printed
    assert "4 schemes are too few for an interval" in printed
    assert "(-1.00 to" not in printed
    assert "test mean absolute error: mean 81.25 people" in printed
    assert "range 20.00 people; deviation between seeds 1.41" in printed


def test_a_job_list_is_run_by_xargs_and_gathered_by_the_same_command(
    script: Script, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list in two processes at once, and all else in this one."""
    monkeypatch.setattr(sys, "executable", warm_python())  # which the list names
    work = "a work's dir"  # its names are quoted
    options = (tiny, "--work-dir", work, "--images", 40, "--schemes", 4)
    short = ("--cfg-options", *(f"{name}={value}" for name, value in FAST.items()))
    assert script("tools/correlation.py", *options, "--jobs", "jobs.txt", *short) == 0
    assert "5 jobs in jobs.txt" in capsys.readouterr().out
    assert not (tmp_path / work / "supernet.pth").exists()  # nothing was trained
    lines = (tmp_path / "jobs.txt").read_text().splitlines()
    assert len(lines) == 5
    assert "--scores-only" in lines[0]
    assert all("tools/train_cls.py" in line and "--seeds 0 --train-only" in line for line in lines[1:])

    (tmp_path / "jobs.txt").write_text("".join(f"{line}\n" for line in [lines[0], lines[1]]))  # two: seconds each
    xargs = "tr '\\n' '\\0' < jobs.txt | xargs -0 -n 1 -P 2 sh -c"
    variables = environment(CUDA_VISIBLE_DEVICES="")
    subprocess.run(xargs, shell=True, cwd=tmp_path, env=variables, check=True, capture_output=True, timeout=240)
    (trained,) = (tmp_path / work).glob("ean-*-seed0/result.json")
    before = trained.read_bytes()
    for line in lines[:2]:  # once more: there is nothing left to do
        _, name, *arguments = shlex.split(line)
        assert script(name, *arguments) == 0
    assert "scoring" not in capsys.readouterr().out
    assert script("tools/correlation.py", *options, "--report", *short) == 0
    assert "1 of 4 schemes trained" in capsys.readouterr().out
    assert script("tools/correlation.py", *options, "--resume", *short) == 0
    assert "4 of 4 schemes trained from scratch" in capsys.readouterr().out
    assert trained.read_bytes() == before
    record = json.loads((tmp_path / work / "correlation.json").read_text())
    assert record["settings"]["images"]["reestimation"] == 40

    assert script("tools/correlation.py", *options[:-2], "--report", *short) == 0
    assert "4 of 4 schemes trained from scratch" in capsys.readouterr().out
    assert script("tools/correlation.py", *options[:-1], 5, "--report", *short) == 2
    assert "4 schemes are scored, but" in capsys.readouterr().err
    assert script("tools/correlation.py", *options, "--same-size", 2, *short) == 2
    assert "give --searched too" in capsys.readouterr().err


def test_random_schemes_are_fair_different_and_extendable() -> None:
    drawn = draw_random((18, 18, 18), 400, seed=1)
    assert len({scheme.text for scheme in drawn}) == 400
    assert draw_random((18, 18, 18), 7, seed=1) == drawn[:7]
    ones = np.array([scheme.bits for scheme in drawn])
    assert abs(ones.mean() - 0.5) < 4 * 0.5 / np.sqrt(ones.size)
    assert np.abs(ones.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(400)
    assert len(draw_random((1, 1, 1), 8, seed=0)) == 8  # all there are
    with pytest.raises(EANError, match="3 blocks has 8 schemes, but 9 random ones"):
        draw_random((1, 1, 1), 9, seed=0)


def test_beside_a_searched_scheme_stand_others_of_its_size() -> None:
    searched = Scheme.parse("010 100 001", blocks=BLOCKS)
    groups = choose_schemes(BLOCKS, random=2, searched=[searched], same_size=83, seed=3)
    text = {name: [scheme.text for scheme in schemes] for name, schemes in groups.items()}
    assert list(text) == ["random", "searched", "random, same size", "last blocks", "first blocks", "every N-th block"]
    assert len(set(text[SAME_SIZE])) == 83  # of the 84 schemes with three connections all but the searched one
    assert {scheme.connections for scheme in groups[SAME_SIZE]} == {3}
    assert searched.text not in text[SAME_SIZE]
    assert (text["last blocks"], text["first blocks"]) == (["000000111"], ["111000000"])
    assert text["every N-th block"] == ["100100100"]
    assert nearest_periodic(BLOCKS, 5).text == "101010101"
    with pytest.raises(EANError, match="only 83 other schemes of 9 blocks have 3 connections, and 84 were asked for"):
        draw_same_size(BLOCKS, 3, 84, without=[searched], seed=3)
    with pytest.raises(EANError, match="the study has no schemes: give"):
        choose_schemes(BLOCKS)


@pytest.mark.usefixtures("drawn")
def test_figure_4_from_scratch(job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The groups of a study: trained for real are two, the other results are made up."""
    searched = Scheme.parse("010 100 001", blocks=BLOCKS)
    groups = choose_schemes(BLOCKS, random=3, searched=[searched], same_size=2)
    study = Study(job("study", **FAST), groups, images=40)
    scores = prepare(study)
    assert [len(scores[way]) for way in WAYS] == [len(study.schemes)] * 2
    assert scored_groups(study.directory, BLOCKS) == {name: list(schemes) for name, schemes in groups.items()}
    report_study(study, scores, last=False)
    assert not (tmp_path / "study/correlation.figure4.png").exists()

    results = [[60.0 + index] for index in range(len(study.schemes))]  # searched: index 3, the same size: 4 and 5
    figures = summarize_study(study, scores, results)
    write_summary(study, figures)
    assert (tmp_path / "study/correlation.figure4.png").read_bytes()[:4] == b"\x89PNG"
    record = read_record(tmp_path / "study/correlation.json")["metrics"]
    assert [row["groups"] for row in record["schemes"]][3:5] == [[SEARCHED], [SAME_SIZE]]
    print_groups(figures["schemes"], score=ClassificationTask.score, metric=ACCURACY)
    printed = capsys.readouterr().out
    assert "searched 010100001: test accuracy 63.00 %, better than 0 of 2 random schemes with 3 connections" in printed
    assert "(64.00 to 65.00)" in printed


def test_schemes_are_compared_by_the_seeds_that_both_have() -> None:
    """Seed 1 gives five points more to every scheme, and only the searched one was trained with it alone."""
    seeds = {"111": [1], "101": [0, 1], "011": [0]}
    results = {"111": [65.0], "101": [61.0, 66.0], "011": [50.0]}
    rows = [
        {"bits": bits, "connections": 2, "groups": [SEARCHED if bits == "111" else SAME_SIZE], "seeds": seeds[bits],
         "top1": {"values": values, "mean": sum(values) / len(values)}}
        for bits, values in results.items()
    ]  # fmt: skip
    (sentence,) = searched_sentences(rows, ACCURACY)
    assert "better than 0 of 1 random schemes with 2 connections" in sentence


def test_mistakes_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EANError, match="does not hold a study: leave out --report"):
        scored_groups(tmp_path / "w", (3, 3, 3))


def test_the_studys_recipe_and_a_scheme_trained_by_a_search_fit_together(job: MakeJob) -> None:
    recipe = Recipe.from_file(ROOT / "classification/configs/ean_se_r20_cifar100_subset30k.py")
    assert recipe.supernet.epochs > recipe.train.epochs >= 4
    study = Study(job("study"), spread(4))
    scheme = study.schemes[2]
    searched = make_target(study.job, scheme.text, label="ean")
    assert searched.directory(0) == study.target(scheme).directory(0)
    assert searched.spec == study.target(scheme).spec
