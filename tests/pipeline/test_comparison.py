"""Search methods side by side on one supernet: the pipeline, the command, the pictures."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from classification.job import start_job
from classification.recipe import Recipe
from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.pipeline.comparison.compare import Comparison, compare_methods
from ean_core.pipeline.comparison.record import draw_random
from ean_core.pipeline.comparison.retrain import print_retrained, retrain_answers
from ean_core.pipeline.comparison.show import (
    SAME_IMAGES,
    answer_schemes,
    best_answers,
    draw_all,
    method_sentences,
    print_comparison,
    published_schemes,
)
from ean_core.pipeline.job import Job
from ean_core.pipeline.pareto_file import read_front, take_point
from ean_core.pipeline.pareto_front import write_front
from ean_core.pipeline.search import search_scheme, with_method
from ean_core.pipeline.supernet import train_supernet
from ean_core.report.plots_search import draw_retrained, draw_schemes
from ean_core.search.comparison import Budget
from ean_core.search.history import read_lines
from ean_core.search.method_choice import parse_method, parse_methods
from ean_core.supernet.scorer import Score, Scorer
from ean_core.utils.shipped_files import SCHEMES
from tests.conftest import Run
from tests.helpers.killing import Killed, kill_at
from tests.helpers.tiny_recipe import TINY

METHODS = "ean,ean:natural,random,genetic:population=4,enas,darts,hsp"
Start = Callable[..., Job]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory with the tiny recipe's supernet; not to be written to."""
    directory = tmp_path_factory.mktemp("trained")
    (directory / "tiny.py").write_text(TINY)
    recipe = Recipe.from_file(directory / "tiny.py")
    train_supernet(start_job(recipe, data_root=directory, directory=directory / "w"))
    return directory


@pytest.fixture
def start(trained: Path, tmp_path: Path) -> Start:
    """`start("name", **overrides)`: a job in a copy of that directory."""

    def make(name: str = "w", **overrides: object) -> Job:
        if not (tmp_path / name).exists():
            shutil.copytree(trained / "w", tmp_path / name)
        recipe = Recipe.from_file(trained / "tiny.py", overrides)
        return start_job(recipe, data_root=tmp_path, directory=tmp_path / name, resume=True)

    return make


def comparison(methods: str = METHODS, *, seeds: int = 2, exhaustive: bool | None = False) -> Comparison:
    return Comparison(parse_methods([methods]), seeds, Budget(evaluations=8, proposals=15, samples=6), exhaustive)


def compare(job: Job, what: Comparison) -> dict:
    return read_record(compare_methods(what.check(job), job.directory / "supernet.pth", what))


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The schemes that were really scored on the supernet, in order."""
    seen: list[str] = []
    original = Scorer._pass

    def counting(self, scheme):
        seen.append(scheme.text)
        return original(self, scheme)

    monkeypatch.setattr(Scorer, "_pass", counting)
    return seen


def stripped(record: dict) -> dict:
    """A record without its clock times, which differ between runs."""
    metrics = json.loads(json.dumps(record["metrics"]))
    for run in metrics["runs"]:
        del run["seconds"]
    return metrics


@pytest.mark.usefixtures("drawn")
def test_all_methods_on_shared_scores(start: Start, scored: list[str], capsys: pytest.CaptureFixture) -> None:
    job = start()
    record = compare(job, comparison())
    assert len(scored) == len(set(scored))
    lines = (job.directory / "comparison" / "scores.jsonl").read_text().splitlines()
    assert {json.loads(line)["bits"] for line in lines} == set(scored)
    runs = record["metrics"]["runs"]
    assert [(run["method"], run["seed"]) for run in runs] == [(m, s) for s in (0, 1) for m in METHODS.split(",")]
    asked = [run["evaluations"] for run in runs if run["method"] == "hsp"]
    assert asked[0] == asked[1] > 0  # what is known counts again, and is scored once
    by_method = {run["method"]: run for run in runs}
    assert by_method["hsp"]["most_probable"] is None
    assert {method for method, run in by_method.items() if run["returned"] == "smoothed"} == {"ean:natural"}
    for run in runs:
        assert run["smoothed"]["reward"] <= run["best"]["reward"]
    natural = [run["smoothed"] for run in runs if run["method"] == "ean:natural"]
    assert str(answer_schemes(record)["ean:natural"]) == max(natural, key=lambda one: one["smoothed_reward"])["bits"]
    assert by_method["darts"]["most_probable"] is not None
    assert set(record["metrics"]["figure4"]["methods"]) == {"ean", "ean:natural", "enas"}
    assert record["metrics"]["figure4"]["methods"]["ean"]["n"] == 12
    assert "regret" not in record["metrics"]["methods"][0]["best"]
    pictures = draw_all(record, job.directory, published=published_schemes(SCHEMES))
    assert [path.name for path in pictures] == ["comparison.png", "figure4.png", "figure5.png", "schemes.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in pictures)
    print_comparison(record, score=job.task.score)
    printed = capsys.readouterr().out
    assert "…" not in printed  # no figure is cut
    assert all(method in printed for method in METHODS.split(","))
    scored.clear()
    assert stripped(compare(job, comparison())) == stripped(record)
    assert not scored


def rule(scheme: Scheme) -> float:
    """A made-up accuracy: 512 real scores would take seconds."""
    return 50.0 + 3 * scheme.bits[2] + 2 * scheme.bits[7] - 0.5 * scheme.connections


@pytest.fixture
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scorer, "__call__", lambda self, schemes: [Score(rule(scheme), 0.0) for scheme in schemes])


@pytest.mark.usefixtures("_made_up")
def test_time_is_limited_for_all_methods(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    table = SimpleNamespace(percent=(4.0,) * 2 + (8.0,) * 7)  # blocks 3 and 8 pay, but only one of them is allowed
    table.predicted = lambda scheme: sum(b * p for b, p in zip(scheme.bits, table.percent, strict=True))
    monkeypatch.setattr("ean_core.pipeline.search_constraints.latency_table", lambda job: table)
    job = start(**{"search.latency": "table.json", "search.max_increment": 12.0, "search.reward.latency": 0.01})
    rules = comparison("random").check(job)
    drawn = draw_random(rules, 50)  # what Fig. 4 holds the searched schemes against
    assert max(map(table.predicted, drawn)) <= 12
    assert len({scheme.text for scheme in drawn}) > 5
    metrics = compare(job, comparison("random,ean,darts,tail-k", exhaustive=True))["metrics"]
    assert metrics["figure4"]["random"]["accuracy"] == [rule(scheme) for scheme in draw_random(rules, 12)]
    assert metrics["highest"]["bits"] == "001 | 000 | 000"
    assert metrics["schemes"] < 512
    for run in metrics["runs"]:
        for answer in filter(None, (run["best"], run["most_probable"], run["smoothed"])):
            assert table.predicted(Scheme.parse(answer["bits"], blocks=(3, 3, 3))) <= 12
    reward = metrics["all_on"]["reward"]
    assert reward == pytest.approx(metrics["all_on"]["validation_accuracy"] - 0.01 * 64, abs=1e-3)


@pytest.mark.usefixtures("_made_up")
def test_exhaustive_scores_give_the_regret(start: Start) -> None:
    record = compare(start(), comparison("random,tail-k", exhaustive=None))
    metrics = record["metrics"]
    assert metrics["schemes"] == 512
    assert metrics["highest"]["bits"] == "001 | 000 | 010"
    for run, row in zip(metrics["runs"], metrics["methods"], strict=False):
        assert run["method"] == row["method"]
    tail = next(row for row in metrics["methods"] if row["method"] == "tail-k")
    best = max(run["best"]["reward"] for run in metrics["runs"] if run["method"] == "tail-k")
    assert tail["best"]["regret"]["mean"] == pytest.approx(metrics["highest"]["reward"] - best, abs=1e-3)
    assert metrics["accuracy_quantiles"][-1] >= metrics["highest"]["validation_accuracy"]


def made_up_run(method: str, reward: float, *, smoothed: tuple[float, float] | None = None, bits: str = "1") -> dict:
    """A search; `smoothed`: reward and smoothed reward of its smoothed answer, which it returns then."""
    run = {"method": method, "best": {"bits": "0", "reward": reward, "connections": 1}, "returned": "best"}
    if smoothed is not None:
        answer = {"bits": bits, "reward": smoothed[0], "smoothed_reward": smoothed[1], "connections": 1}
        run |= {"smoothed": answer, "returned": "smoothed"}
    return run


def test_of_smoothed_answers_the_highest_smoothed_reward_is_taken() -> None:
    """The highest reward of them would bring the luck back that smoothing took out."""
    runs = [
        made_up_run("natural", 60.0, smoothed=(59.0, 50.0), bits="lucky"),
        made_up_run("natural", 55.0, smoothed=(54.0, 53.0), bits="good"),
        made_up_run("random", 50.0),
        made_up_run("random", 51.0),
    ]
    answers = best_answers({"settings": {"methods": {"natural": {}, "random": {}}}, "metrics": {"runs": runs}})
    assert (answers["natural"]["bits"], answers["random"]["reward"]) == ("good", 51.0)


def test_a_higher_reward_is_not_called_a_better_scheme() -> None:
    """All schemes are equal, and the method that scores more of them finds a higher score among the noise."""
    rng = np.random.default_rng(0)
    highest = {
        method: rng.normal(50, 0.7, size=(40, count)).max(axis=1) for method, count in (("a", 100), ("random", 20))
    }
    runs = [made_up_run(method, reward) for method, rewards in highest.items() for reward in rewards]
    sentence, caution = method_sentences(runs)
    assert sentence.startswith("a returns schemes of a higher reward than random: +")
    assert caution == SAME_IMAGES
    assert "the highest of more scores is higher by luck alone" in caution
    returned = [
        made_up_run("natural", reward, smoothed=(50.0 + 0.1 * (-1) ** k, 49.0))
        for k, reward in enumerate(range(60, 70))
    ]
    (sentence,) = method_sentences([*returned, *[made_up_run("random", 50.0 + 0.1 * k) for k in range(-5, 5)]])
    assert sentence.startswith("No difference between the rewards of natural and random can be shown: ")


def test_killed_and_resumed_equals_uninterrupted(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    what = comparison("random,ean,darts,genetic:population=4")
    whole = compare(start("whole"), what)
    with monkeypatch.context() as patch:
        kill_at(patch, Scorer, "_pass", 25)
        with pytest.raises(Killed):
            compare(start("cut"), what)
    assert stripped(compare(start("cut"), what)) == stripped(whole)


def test_what_the_directory_holds_is_respected(start: Start, scored: list[str]) -> None:
    job = start(**{"search.steps": 6})
    search_scheme(job, job.directory / "supernet.pth")
    known = set(scored)
    scored.clear()
    compare(job, comparison("random,ean"))
    assert known.isdisjoint(scored)  # what the pipeline's own search scored is taken over
    with pytest.raises(EANError, match="bn_images"):
        compare(start(**{"search.bn_images": 20}), comparison("random"))
    fresh = dataclasses.replace(job, resume=False)
    with pytest.raises(EANError, match="--resume"):
        compare(fresh, comparison("random"))
    runs = len(list((job.directory / "comparison" / "runs").iterdir()))
    longer = Comparison(parse_methods(["random"]), 1, Budget(evaluations=9, proposals=15))
    assert compare(job, longer)["metrics"]["runs"][0]["evaluations"] == 9  # not what the shorter run's file says
    assert len(list((job.directory / "comparison" / "runs").iterdir())) == runs


def test_searches_with_batch_norm_re_estimated(start: Start) -> None:
    record = compare(start(**{"search.bn_images": 20}), comparison("darts,random", seeds=1))
    assert record["metrics"]["runs"][0]["method"] == "darts"


def test_a_copied_supernet_is_compared_both_ways(trained: Path, tmp_path: Path) -> None:
    """Running and re-estimated statistics, each in a directory that begins with a copy of supernet.pth alone."""
    records = []
    for images in (0, 20):
        (directory := tmp_path / f"bn{images}").mkdir()
        shutil.copy(trained / "w" / "supernet.pth", directory)
        recipe = Recipe.from_file(trained / "tiny.py", {"search.bn_images": images})
        job = start_job(recipe, data_root=tmp_path, directory=directory, resume=True)
        what = comparison("random,hsp", seeds=1)
        records.append(read_record(compare_methods(what.check(job), train_supernet(job), what)))
        assert not (directory / "supernet").exists()  # nothing was trained
    running, again = (record["metrics"]["all_on"]["validation_accuracy"] for record in records)
    assert running != again
    assert records[0]["settings"]["supernet_sha256"] == records[1]["settings"]["supernet_sha256"]


def test_darts_searches_alone_and_resumes(start: Start) -> None:
    def lines(job: Job) -> list[tuple]:
        search_scheme(job, job.directory / "supernet.pth")
        return [(line.bits, line.accuracy, line.p) for line in read_lines(job.directory / "history.jsonl")]

    def darts(name: str, steps: int) -> Job:
        return with_method(
            start(name, **{"search.steps": steps}), parse_method("darts"), {"search.options.learning_rate": 0.5}
        )

    whole = lines(darts("whole", 7))
    lines(darts("cut", 3))
    assert lines(darts("cut", 7)) == whole
    assert len({p for line in whole for p in line[2]}) > 20  # the connections move


@pytest.mark.usefixtures("drawn")
def test_each_different_scheme_is_trained_once(start: Start, capsys: pytest.CaptureFixture) -> None:
    job = start(**{"train.epochs": 1, "retrain": ["org", "ean"]})
    record = compare(job, comparison("random,hsp,tail-k", seeds=1))
    runs = record["metrics"]["runs"]
    runs[1]["best"] = runs[0]["best"]  # two methods find the same scheme
    path = job.directory / "comparison" / "retrained.json"
    retrained = read_record(retrain_answers(job, record, path))
    rows = retrained["metrics"]
    assert [row["methods"] for row in rows] == [["org"], ["random", "hsp"], ["tail-k"]]
    assert rows[1]["scheme"] == str(answer_schemes(record)["random"])
    assert rows[0]["time_increment"]["value"] == 0
    stamps = {path: path.stat().st_mtime_ns for path in job.directory.glob("*-seed0/classifier.pth")}
    assert len(stamps) == 3
    again = read_record(retrain_answers(job, record, path))["metrics"]
    assert [row["top1"] for row in again] == [row["top1"] for row in rows]
    assert stamps == {path: path.stat().st_mtime_ns for path in job.directory.glob("*-seed0/classifier.pth")}
    assert f"random, hsp: {job.directory / 'ean-'}" in capsys.readouterr().out  # where the networks are
    print_retrained(retrained, metrics=job.task.metrics[:1])
    assert "random, hsp" in capsys.readouterr().out
    assert draw_retrained(path.with_suffix(".png"), retrained).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("drawn")
def test_schemes_of_different_networks_are_drawn_together(tmp_path: Path) -> None:
    schemes = {**published_schemes(SCHEMES), "small": Scheme.all_on((1, 2))}
    assert {len(scheme) for scheme in schemes.values()} >= {54, 16, 3}
    assert draw_schemes(tmp_path / "schemes.png", schemes, title="all").stat().st_size > 5000
    assert set(published_schemes(SCHEMES, arch="resnet50")) == {path.stem for path in SCHEMES.glob("*_resnet50.json")}
    of_se = published_schemes(SCHEMES, arch="resnet50", attention="se", data="imagenet")
    assert set(of_se) == {"paper_ean_se_resnet50"}
    assert not published_schemes(SCHEMES, arch="resnet50", attention="se", data="folder")
    with pytest.raises(EANError, match="nothing to draw"):
        draw_schemes(tmp_path / "none.png", {})


def test_the_command_compares_and_refuses(run_here: Run, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "w", tmp_path / "w")
    options = ["--work-dir", "w", "--resume", "--no-exhaustive"]
    done = run_here(
        "tools/search.py", trained / "tiny.py", "--methods", "random,darts", "hsp", "--seeds", 1, "--evaluations", 5,
        "--proposals", 8, "--samples", 3, *options,
    )  # fmt: skip
    for word in (
        "darts seed 0: best reward",
        "5 evaluations, 1 search seed, 40 validation images",
        "comparison.png",
    ):
        assert word in done.stdout
    record = read_record(tmp_path / "w" / "comparison" / "comparison.json")
    assert record["settings"]["budget"] == {"evaluations": 5, "proposals": 8, "samples": 3}
    assert not (tmp_path / "w" / "comparison" / "figure5.png").exists()  # none of these has probabilities
    front = read_front(tmp_path / "w" / "comparison" / "pareto.json")
    assert front["scored"] == len(read_lines(tmp_path / "w" / "comparison" / "scores.jsonl"))
    write_front(tmp_path / "w" / "comparison")  # as tools/pareto.py does
    number = len(front["points"])
    taken = take_point(front, number, tmp_path / "s.json")
    assert taken.text == front["points"][-1]["bits"]
    content = json.loads((tmp_path / "s.json").read_text())
    assert (content["arch"], content["attention"], content["method"]) == ("resnet20", "se", "random, darts, hsp")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "random,gene"], "unknown search method 'gene': choose one of ean, "),
        (["--methods", "ean:naturel"], "did you mean 'natural'"),
        (["--methods", "darts:image=3"], "did you mean 'images'"),
        (["--methods", "ean,ean"], "must be different"),
        (["--methods", "ean", "--method", "random"], "give only one of them"),
        (["--seeds", 3], "--seeds is for comparing search methods"),
        (["--methods", "ean", "--exhaustive", "--cfg-options", "model.arch=resnet164"], "too many to score them all"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list) else "",
)
def test_mistakes_get_a_sentence_before_any_training(
    arguments: list, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from tools import search

    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY)
    with pytest.raises(SystemExit) as stopped:
        search.main(["tiny.py", "--work-dir", "w", *map(str, arguments)])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
