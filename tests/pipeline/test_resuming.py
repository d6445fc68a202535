"""An interrupted run ends as an uninterrupted one, and a directory that holds another run is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.networks.network_file import read_network_file
from ean_core.pipeline.pipeline import run_pipeline
from ean_core.pipeline.search import search_scheme
from ean_core.pipeline.supernet import train_supernet
from ean_core.search.history import read_lines
from ean_core.supernet.scorer import Scorer
from ean_core.training.classifier import ImageClassifier, SupernetClassifier
from tests.helpers.killing import Killed, kill_at
from tests.helpers.tiny_recipe import ean_directory, start_tiny
from tests.pipeline.conftest import MakeJob


def outcome(directory: Path) -> tuple:
    """All that two equal runs must agree in."""
    lines = [(line.step, line.bits, line.accuracy) for line in read_lines(directory / "history.jsonl")]
    runs = {"org": directory / "org-seed0", "ean": ean_directory(directory)}
    weights = {name: read_network_file(one / "classifier.pth")["state_dict"] for name, one in runs.items()}
    sums = {f"{run}.{name}": float(value.double().sum()) for run, one in weights.items() for name, value in one.items()}
    results = [read_record(directory / "result.json")["metrics"]["top1"] for directory in runs.values()]
    return lines, Scheme.load(directory / "scheme.json"), sums, results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the tiny recipe's run in one go; tests that change it take a copy."""
    started = start_tiny(tmp_path_factory.mktemp("whole"))
    run_pipeline(started)
    return started.directory


@pytest.fixture(scope="module")
def uninterrupted(whole: Path) -> tuple:
    """The outcome of the run in one go."""
    return outcome(whole)


SHORT = {"supernet.epochs": 1, "supernet.val_interval": 0}


@pytest.fixture(scope="module")
def short_supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run whose supernet was trained as `SHORT` says, and nothing else."""
    started = start_tiny(tmp_path_factory.mktemp("short"), **SHORT)
    train_supernet(started)
    return started.directory


@pytest.fixture
def begun(short_supernet: Path, tmp_path: Path) -> Path:
    """A copy of it as the directory of `job("run")`."""
    return shutil.copytree(short_supernet, tmp_path / "run")


def test_another_seed_gives_something_else(job: MakeJob, tmp_path: Path, whole: Path) -> None:
    """The same seed gives the same everything, as the test of interruptions shows."""
    run_pipeline(job("other", seed=1), retrain=False)
    assert read_lines(tmp_path / "other" / "history.jsonl") != read_lines(whole / "history.jsonl")


def test_interrupted_and_resumed_equals_uninterrupted(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple
) -> None:
    """One run, killed in each of its parts."""
    for owner, name, call, begun in (
        (SupernetClassifier, "losses", 1, "supernet/run.json"),  # in the first epoch: nothing saved yet
        (SupernetClassifier, "losses", 9, "supernet/last.pth"),  # in the third epoch
        (Scorer, "_pass", 8, "history.jsonl"),  # in the search, after the validation's five passes at the most
        (ImageClassifier, "losses", 6, "org-seed0/last.pth"),  # in the second epoch of a network
    ):
        with monkeypatch.context() as patch:
            kill_at(patch, owner, name, call)
            with pytest.raises(Killed):
                run_pipeline(job("cut", resume=True))
        assert (tmp_path / "cut" / begun).exists()
    run_pipeline(job("cut", resume=True))
    assert outcome(tmp_path / "cut") == uninterrupted


def test_a_finished_run_resumed_does_nothing_again(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path, uninterrupted: tuple
) -> None:
    shutil.copytree(whole, tmp_path / "run")

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(ImageClassifier, "losses", never)
    run_pipeline(job("run", resume=True))
    assert outcome(tmp_path / "run") == uninterrupted


def of_another_run(path: Path) -> None:
    """Change the key of the run that wrote a file."""
    if path.suffix == ".pth":
        content = torch.load(path, weights_only=True)
        content["meta"]["run"] = "0" * 12
        torch.save(content, path)
    else:
        path.write_text(re.sub(r'"run": "[0-9a-f]{12}"', f'"run": "{"0" * 12}"', path.read_text()))


def of_the_other_network(path: Path) -> None:
    """Replace a file of Org's training by that of the searched network's."""
    shutil.copy(ean_directory(path.parents[1]) / path.name, path)


def edited(path: Path) -> None:
    """Connect every block of a scheme.json by hand."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "stages": ["111"] * 3, "connections": 9}))


def of_another_supernet(path: Path) -> None:
    """Change the checksum of the supernet in a file."""
    path.write_text(re.sub(r'("supernet_sha256": ")[0-9a-f]+', rf"\g<1>{'0' * 64}", path.read_text()))


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("history.jsonl", of_another_run, "was written by a run with other settings"),
        ("org-seed0/result.json", of_the_other_network, "was written by a run with other settings"),
        ("org-seed0/classifier.pth", of_the_other_network, "was written by a run with other settings"),
        ("supernet/last.pth", of_another_run, "was written by a run with other settings"),
        ("scheme.json", edited, "is not as the search wrote it"),
        ("scheme.json", lambda path: path.write_text("{"), "is damaged, and this search would replace it"),
        ("scheme.json", of_another_supernet, "is not of a search on the supernet here"),
        ("pareto.json", of_another_supernet, "is the front of a search on another supernet"),
    ],
)
def test_a_file_of_another_run_is_neither_used_nor_replaced(
    job: MakeJob, tmp_path: Path, whole: Path, name: str, change: Callable[[Path], None], sentence: str
) -> None:
    file = shutil.copytree(whole, tmp_path / "run") / name
    before = file.read_bytes()
    change(file)
    after = file.read_bytes()
    assert after != before
    if name == "supernet/last.pth":
        for finished in ("supernet.pth", "scheme.json"):
            (tmp_path / "run" / finished).unlink()
    with pytest.raises(EANError, match=f"{name} {sentence}"):
        run_pipeline(job("run", resume=True))
    assert file.read_bytes() == after


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model.arch": "resnet29"}, "model.arch = 'resnet20', and this run has 'resnet29'"),
        ({"model.attention": "sge"}, "model.attention = 'se', and this run has 'sge'"),
        ({"supernet.lr": 0.5}, "supernet.lr = 0.05, and this run has 0.5"),
        ({"data.train_per_class": 20}, "data.train_per_class = 12, and this run has 20"),
        ({"seed": 3}, "seed = 0, and this run has 3"),
    ],
)
@pytest.mark.usefixtures("begun")
def test_resuming_another_run_is_refused(job: MakeJob, changes: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        train_supernet(job("run", resume=True, **{**SHORT, **changes}))


def test_a_search_of_other_random_numbers_is_taken_when_it_has_ended_and_never_replaced(job: MakeJob) -> None:
    """Searches of earlier versions: their schemes were drawn otherwise, and replaying would replace their record."""
    settings = {"supernet.epochs": 1, "search.steps": 3, "search.max_evaluations": None}
    run = job("run", **settings)
    run_pipeline(run, retrain=False)
    claimed, history = run.directory / "search" / "run.json", run.directory / "history.jsonl"
    content = json.loads(claimed.read_text())
    assert content.pop("streams")
    claimed.write_text(json.dumps(content))
    before, supernet = history.read_bytes(), run.directory / "supernet.pth"
    scheme = Scheme.load(search_scheme(job("run", resume=True, **settings), supernet))
    assert scheme == Scheme.load(run.directory / "scheme.json")
    with pytest.raises(EANError, match="search.options.schemes_per_step = 2, and this run has 3"):
        search_scheme(job("run", resume=True, **settings, **{"search.options.schemes_per_step": 3}), supernet)
    with pytest.raises(EANError, match="give --resume"):
        search_scheme(run, supernet)
    with pytest.raises(EANError, match="unfinished search by an earlier version.*another --work-dir"):
        search_scheme(job("run", resume=True, **{**settings, "search.steps": 4}), supernet)
    lines = before.splitlines(keepends=True)
    history.write_bytes(b"".join(lines[:3]))  # killed in its middle
    with pytest.raises(EANError, match="unfinished search by an earlier version"):
        search_scheme(job("run", resume=True, **settings), supernet)
    assert history.read_bytes() == b"".join(lines[:3])


@pytest.mark.usefixtures("begun")
def test_resuming_on_other_data_is_refused(job: MakeJob) -> None:
    other = job("run", resume=True, **SHORT)
    data = dataclasses.replace(other.task.data, fingerprint="0" * 16)
    other = dataclasses.replace(other, task=dataclasses.replace(other.task, data=data))
    with pytest.raises(EANError, match="data.fingerprint"):
        train_supernet(other)


@pytest.mark.usefixtures("begun")
def test_an_earlier_run_is_not_overwritten(job: MakeJob) -> None:
    with pytest.raises(EANError, match="holds an earlier run: give --resume"):
        train_supernet(job("run", **SHORT))


def test_a_truncated_state_is_named(job: MakeJob, begun: Path) -> None:
    (begun / "supernet.pth").unlink()
    state = begun / "supernet" / "last.pth"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(EANError, match=r"last\.pth is damaged or truncated"):
        train_supernet(job("run", resume=True, **SHORT))


def test_a_search_can_be_extended_but_not_cut_short(job: MakeJob, tmp_path: Path) -> None:
    run_pipeline(job("long", **{"search.steps": 12}), retrain=False)
    run_pipeline(job("short"), retrain=False)
    with pytest.raises(EANError, match="has 8 steps, but 3 were requested"):
        run_pipeline(job("short", resume=True, **{"search.steps": 3}), retrain=False)
    run_pipeline(job("short", resume=True, **{"search.steps": 12}), retrain=False)
    lines = [
        [(line.step, line.bits, line.final) for line in read_lines(tmp_path / name / "history.jsonl")]
        for name in ("long", "short")
    ]
    assert lines[0] == lines[1]


def test_a_foreign_supernet_and_another_search_are_refused(job: MakeJob, tmp_path: Path) -> None:
    supernet = train_supernet(job("one", seed=5))
    (tmp_path / "two").mkdir()
    shutil.copy(supernet, tmp_path / "two")
    with pytest.raises(EANError, match="was trained with seed = 5, and this run has 0"):
        run_pipeline(job("two", resume=True), retrain=False)
    run_pipeline(job("three"), retrain=False)
    with pytest.raises(EANError, match="search.reward.sparsity = 2.0, and this run has 9"):
        run_pipeline(job("three", resume=True, **{"search.reward": {"sparsity": 9.0}}), retrain=False)
