"""A run: resumed as if it had not stopped, selected on the validation images, tested on the others."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crowd_counting.data.density_cache import write_cache
from crowd_counting.data.points import CrowdData
from crowd_counting.data.shanghaitech import load_shanghaitech
from crowd_counting.evaluation import load_model, score_file
from crowd_counting.fit import constant_counts, train_counter
from crowd_counting.hooks import KeepBest, ShowCounting
from crowd_counting.job import Job
from crowd_counting.metrics import CountMetric, summarize_errors
from crowd_counting.model.losses import LOSSES
from crowd_counting.model.training_model import evaluate
from crowd_counting.recipe import Recipe
from crowd_counting.summary import covered_seeds, summarize_seeds
from ean_core.io.records import read_record
from ean_core.training.hooks import SaveState
from ean_core.utils.errors import EANError
from tests.crowd_counting.conftest import draw_crowd
from tests.helpers.crafted_files import crafted_state
from tests.helpers.killing import Killed, kill_at

TINY = {
    "model.arch": "resnet20",
    "model.attention": "se",
    "model.scheme": "100010001",
    "model.head_channels": 8,
    "data.crop": 32,
    "data.workers": 0,
    "data.val_share": 0.3,
    "train.epochs": 3,
    "train.batch_size": 2,
    "train.lr": 1e-3,
    "train.validate_every": 1,
}


def make_job(crowd: CrowdData, directory: Path, *, resume: bool = False, **options: Any) -> Job:
    recipe = Recipe.read(None, {**TINY, **{key.replace("__", "."): value for key, value in options.items()}})
    return Job.prepare(recipe, crowd, directory=directory, resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of three epochs with seed 5; not to be written to."""
    root = tmp_path_factory.mktemp("whole")
    return train_counter(make_job(load_shanghaitech(draw_crowd(root / "data"), "A"), root), seed=5)


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of one epoch with seed 0; not to be written to."""
    root = tmp_path_factory.mktemp("one_epoch")
    return train_counter(make_job(load_shanghaitech(draw_crowd(root / "data"), "A"), root, train__epochs=1), seed=0)


@pytest.fixture
def finished(one_epoch: Path, tmp_path: Path) -> Path:
    """A copy of it, as the run of seed 0 in the test's directory."""
    return shutil.copytree(one_epoch, tmp_path / "seed0")


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def assert_same(one: Path, other: Path) -> None:
    assert (one / "validation.json").read_text() == (other / "validation.json").read_text()
    for name in ("best.pth", "final.pth"):
        theirs = weights(other / name)
        for key, value in weights(one / name).items():
            assert torch.equal(value, theirs[key]), (name, key)
    tests = [read_record(path / "result.json")["metrics"] for path in (one, other)]
    assert tests[0]["best"] == tests[1]["best"]
    assert tests[0]["final"] == tests[1]["final"]


@pytest.mark.parametrize("moment", ["between save and validation", "in the middle of an epoch"])
def test_resumed_equals_uninterrupted(
    crowd: CrowdData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path, moment: str
) -> None:
    with monkeypatch.context() as patch:
        if moment == "between save and validation":
            kill_at(patch, SaveState, "after_train_epoch", 2, done=True)
        else:
            kill_at(patch, ShowCounting, "after_train_iter", 5, done=True)  # of 3 steps an epoch
        with pytest.raises(Killed):
            train_counter(make_job(crowd, tmp_path / "stopped"), seed=5)
    assert not (tmp_path / "stopped" / "seed5" / "final.pth").exists()
    torch.rand(7)  # chance is not taken from the global state
    resumed = train_counter(make_job(crowd, tmp_path / "stopped", resume=True), seed=5)
    assert_same(whole, resumed)


def test_the_test_images_choose_nothing(crowd: CrowdData, tmp_path: Path, whole: Path) -> None:
    """Other test images change the test figures, and not a bit of the checkpoints or the choice among them."""
    other = dataclasses.replace(crowd, test=crowd.test[:1])
    two = train_counter(make_job(other, tmp_path), seed=5)
    assert (whole / "validation.json").read_text() == (two / "validation.json").read_text()
    for name in ("best.pth", "final.pth"):
        theirs = weights(two / name)
        assert all(torch.equal(value, theirs[key]) for key, value in weights(whole / name).items())
    assert read_record(whole / "result.json")["metrics"]["best"] != read_record(two / "result.json")["metrics"]["best"]


def test_the_best_is_the_lowest_validation_error(crowd: CrowdData, tmp_path: Path) -> None:
    directory = train_counter(make_job(crowd, tmp_path, train__epochs=5, train__lr=1e-2), seed=1)
    entries = json.loads((directory / "validation.json").read_text())
    assert [entry["epoch"] for entry in entries] == [1, 2, 3, 4, 5]
    assert {entry["images"] for entry in entries} == {2}  # 0.3 of 8
    lowest = min(entries, key=lambda entry: entry["mae"])
    metrics = read_record(directory / "result.json")["metrics"]
    assert metrics["best"]["epoch"] == lowest["epoch"]
    assert metrics["best"]["validation"]["mae"] == lowest["mae"]
    assert metrics["final"]["epoch"] == 5
    assert {"mae", "rmse", "nae", "game3"} <= set(metrics["best"]["test"])
    assert metrics["best"]["test"]["images"] == 3


@pytest.fixture
def keep_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeepBest:
    """A hook whose counter file holds only an epoch and its error."""

    def save(epoch: int, metrics: dict[str, Any]) -> None:
        (tmp_path / "best.pth").write_text(json.dumps({"epoch": epoch, "validation": metrics}))

    monkeypatch.setattr("crowd_counting.hooks.load_counter", lambda path: (None, json.loads(path.read_text())))
    return KeepBest(tmp_path / "validation.json", best=tmp_path / "best.pth", every=1, save=save)


def validate(hook: KeepBest, maes: dict[int, float]) -> tuple[int, list[tuple[int, float]]]:
    """Let epochs end with these errors; returns the epoch of the saved counter, and the list of validations."""
    for epoch, mae in maes.items():
        hook.after_val_epoch(SimpleNamespace(epoch=epoch), {"mae": mae})
    saved = json.loads(hook.best.read_text())["epoch"]
    return saved, [(entry["epoch"], entry["mae"]) for entry in hook.entries()]


def test_only_a_lower_error_is_kept(keep_best: KeepBest) -> None:
    for epoch, (mae, best) in enumerate([(5.0, 1), (3.0, 2), (4.0, 2), (3.0, 2), (2.0, 5)], start=1):
        assert validate(keep_best, {epoch: mae})[0] == best


@pytest.mark.parametrize(
    ("again", "best", "listed"),
    [
        ({2: 4.0, 3: 1.0}, 3, [(1, 5.0), (2, 4.0), (3, 1.0)]),  # as before
        ({2: 6.0, 3: 7.0}, 3, [(1, 5.0), (2, 6.0), (3, 1.0)]),
        ({2: 0.5, 3: 0.7}, 2, [(1, 5.0), (2, 0.5), (3, 1.0)]),
        ({2: 4.0, 3: 0.7}, 3, [(1, 5.0), (2, 4.0), (3, 0.7)]),
    ],
)
def test_the_best_is_that_of_the_list_however_epochs_repeat(
    keep_best: KeepBest, again: dict[int, float], best: int, listed: list[tuple[int, float]]
) -> None:
    validate(keep_best, {1: 5.0, 2: 4.0, 3: 1.0})
    keep_best.before_train(SimpleNamespace(epoch=1, max_epochs=3))  # the state was saved after the first
    assert validate(keep_best, again) == (best, listed)
    keep_best.history.write_text('[{"epoch": 1, "mae": 0.1}]')
    with pytest.raises(EANError, match="best.pth is not the counter with the lowest error in .*validation.json"):
        keep_best.before_train(SimpleNamespace(epoch=1, max_epochs=3))


def test_figures_of_a_row_are_of_one_file(crowd: CrowdData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With validation errors that rise from epoch to epoch, the best is the first, and is tested as such."""
    rising = itertools.count(1)
    with monkeypatch.context() as patch:
        patch.setattr(
            CountMetric, "compute_metrics", lambda self, rows: {**summarize_errors(rows), "mae": float(next(rising))}
        )
        directory = train_counter(make_job(crowd, tmp_path), seed=0)
    metrics = read_record(directory / "result.json")["metrics"]
    assert (metrics["best"]["epoch"], metrics["final"]["epoch"]) == (1, 3)
    for name in ("best", "final"):
        rows, _ = score_file(directory / f"{name}.pth", crowd.test)
        figures = summarize_errors(rows)
        assert {key: metrics[name]["test"][key] for key in figures} == pytest.approx(figures)
    assert metrics["best"]["test"]["mae"] != metrics["final"]["test"]["mae"]


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_optimizer_is_the_recipes(crowd: CrowdData, tmp_path: Path, name: str) -> None:
    job = make_job(crowd, tmp_path, train__epochs=1, train__optimizer=name, train__weight_decay=0.25)
    state = torch.load(train_counter(job, seed=0) / "last.pth", weights_only=False)["optimizer"]
    group = state["param_groups"][0]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (1e-3, 0.25, (0.9, 0.999))
    assert group.get("decoupled_weight_decay", name == "adamw") == (name == "adamw")  # torch after 2.6 says it


@pytest.mark.parametrize(
    "options",
    [
        *(
            {"train__loss": name, "model__zero_inflated": loss.zero_inflated}
            for name, loss in LOSSES.items()
            if name != "mse"
        ),
        {"train__precision": "bfloat16", "train__channels_last": True},
        {"model__features": "all", "model__head_norm": "group", "data__crop": None},
        {"train__optimizer": "adamw", "train__schedule": "cosine", "train__warmup_epochs": 0.5},
        {"data__kernel": "adaptive", "data__scale_min": 0.7, "data__scale_max": 1.3},
    ],
)
def test_options_train_otherwise(crowd: CrowdData, tmp_path: Path, one_epoch: Path, options: dict[str, Any]) -> None:
    job = make_job(crowd, tmp_path, train__epochs=1, **options)
    torch.manual_seed(0)
    before, without = job.counter().state_dict(), weights(one_epoch / "final.pth")
    after = weights(train_counter(job, seed=0) / "final.pth")
    assert all(value.isfinite().all() for value in after.values())
    for other in (before, without):
        assert any(name not in other or not torch.equal(other[name].cpu(), value) for name, value in after.items())


def test_training_from_cached_maps(crowd: CrowdData, tmp_path: Path) -> None:
    write_cache(tmp_path / "maps.h5", crowd, kernel="fixed:4", stride=8)
    job = make_job(crowd, tmp_path, train__epochs=1, data__cache=str(tmp_path / "maps.h5"))
    assert next(iter(job.train_loader(job.recipe.train, seed=0)))["density"] is not None
    assert (train_counter(job, seed=0) / "best.pth").exists()


def test_a_started_counter_expects_the_mean(crowd: CrowdData, tmp_path: Path) -> None:
    job = make_job(crowd, tmp_path)
    counter = job.counter().eval()
    torch.nn.init.zeros_(counter.head[-1].weight)
    train, _ = job.split
    cells = [-(-image.size[0] // 8) * -(-image.size[1] // 8) for image in train]
    with torch.no_grad():
        per_cell = float(counter(torch.zeros(1, 3, 64, 64)).mean())
    assert per_cell * sum(cells) == pytest.approx(sum(image.count for image in train), rel=0.2)


def test_always_the_mean(crowd: CrowdData) -> None:
    rows = constant_counts(crowd.train, crowd.test)
    assert {row.estimated for row in rows} == {sum(range(4, 12)) / 8}
    assert [row.annotated for row in rows] == [2, 4, 6]


def test_seeds_are_summarized(crowd: CrowdData, finished: Path, tmp_path: Path) -> None:
    job = make_job(crowd, tmp_path, train__epochs=1)
    directories = [finished, train_counter(job, seed=1)]
    older = json.loads((directories[0] / "result.json").read_text())
    older["metrics"]["best"]["test"]["mse_in_papers"] = 1.0  # as records had it besides
    (directories[0] / "result.json").write_text(json.dumps(older))
    summary = summarize_seeds(job, directories)
    assert "mse_in_papers" not in summary["best"]
    values = [read_record(path / "result.json")["metrics"]["best"]["test"]["mae"] for path in directories]
    assert values[0] != values[1]
    assert summary["best"]["mae"]["mean"] == pytest.approx(sum(values) / 2)
    assert summary["best"]["mae"]["std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    record = read_record(tmp_path / "summary.json")
    assert (record["kind"], record["settings"]["seeds"]) == ("counting", [0, 1])
    assert covered_seeds(job, [5]) == [0, 1, 5]
    with pytest.raises(EANError, match="seed0 holds a counter trained with train.loss = 'mse', and this run has 'bay"):
        covered_seeds(make_job(crowd, tmp_path, train__epochs=1, train__loss="bayesian"), [5])
    shutil.rmtree(directories[1])
    with pytest.raises(EANError, match="covers seed 1, which .* no longer holds: give --seeds 0 1 5 --resume"):
        covered_seeds(job, [5])
    assert covered_seeds(job, [1]) == [0, 1]


# -- refusals --------------------------------------------------------------------------------------------------------


def test_a_directory_with_a_run_is_not_taken(crowd: CrowdData, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(EANError, match="holds an earlier run: give --resume"):
        train_counter(make_job(crowd, tmp_path, train__epochs=1), seed=0)
    with pytest.raises(EANError, match=r"cannot be resumed: it was started with train.loss = 'mse', and this run has"):
        train_counter(make_job(crowd, tmp_path, resume=True, train__epochs=1, train__loss="bayesian"), seed=0)
    with pytest.raises(EANError, match="started with data.fingerprint"):
        fewer = dataclasses.replace(crowd, test=crowd.test[:2])
        train_counter(make_job(fewer, tmp_path, resume=True, train__epochs=1), seed=0)
    before = (finished / "result.json").read_bytes()
    (finished / "last.pth").unlink()
    train_counter(make_job(crowd, tmp_path, resume=True, train__epochs=1), seed=0)
    assert (finished / "result.json").read_bytes() == before  # done is done
    train_counter(make_job(crowd, tmp_path / "other", train__epochs=1), seed=1)
    for name in ("result.json", "best.pth"):
        shutil.copy(tmp_path / "other" / "seed1" / name, finished)
        with pytest.raises(EANError, match=f"{name} was written by a run with other settings"):
            train_counter(make_job(crowd, tmp_path, resume=True, train__epochs=1), seed=0)
        (finished / "result.json").write_bytes(before)


@pytest.mark.usefixtures("finished")
def test_a_run_does_not_go_on_with_other_pixels(crowd: CrowdData, tmp_path: Path) -> None:
    """The names, sizes and points of the images are the same."""
    path = crowd.train[0].path
    with Image.open(path) as image:
        changed = np.asarray(image).copy()
    changed[:8, :8] = 255 - changed[:8, :8]
    Image.fromarray(changed).save(path)
    other = CrowdData(crowd.name, crowd.train, crowd.test)
    assert other.fingerprint() == crowd.fingerprint()
    with pytest.raises(EANError, match="it was started with data.content = '[0-9a-f]{16}', and this run has"):
        train_counter(make_job(other, tmp_path, resume=True, train__epochs=1), seed=0)


def test_a_damaged_state_is_not_resumed_from(crowd: CrowdData, finished: Path, tmp_path: Path) -> None:
    (finished / "result.json").unlink()
    (finished / "last.pth").write_bytes(b"PK nothing")
    with pytest.raises(EANError, match=r"last.pth is damaged"):
        train_counter(make_job(crowd, tmp_path, resume=True, train__epochs=1), seed=0)


def test_what_is_wrong_is_said_before_training(crowd: CrowdData, tmp_path: Path) -> None:
    with pytest.raises(EANError, match="batch norm 'frozen' keeps the statistics of the initial weights"):
        make_job(crowd, tmp_path, train__batch_norm="frozen")
    with pytest.raises(EANError, match="does not exist"):
        make_job(crowd, tmp_path, model__weights=str(tmp_path / "none.pth"))
    with pytest.raises(EANError, match="8 bits but the network needs 9"):
        make_job(crowd, tmp_path, model__scheme="10001000")
    with pytest.raises(EANError, match="unknown attention 'sse'"):
        make_job(crowd, tmp_path, model__attention="sse")
    path = crowd.test[0].path
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(EANError, match="cannot decode the image"):
        make_job(crowd, tmp_path)


def test_a_crafted_state_is_not_resumed_from(crowd: CrowdData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("ean_core.pipeline.fit.build_runner", kill)
        with pytest.raises(Killed):
            train_counter(make_job(crowd, tmp_path), seed=0)  # claims the directory
    crafted_state(tmp_path / "seed0" / "last.pth", tmp_path / "ran")
    with pytest.raises(EANError, match="last.pth holds more than weights"):
        train_counter(make_job(crowd, tmp_path, resume=True), seed=0)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["best.pth", "final.pth", "result.json", "validation.json"])
def test_damaged_files_of_a_finished_run_are_not_called_finished(
    crowd: CrowdData, finished: Path, tmp_path: Path, name: str
) -> None:
    content = (finished / name).read_bytes()
    middle = len(content) // 2
    (finished / name).write_bytes(content[:middle] + b"\xff\xff\xff\xff" + content[middle + 4 :])
    if name == "validation.json":
        (finished / "result.json").unlink()
    with pytest.raises(EANError, match=name):
        train_counter(make_job(crowd, tmp_path, resume=True, train__epochs=1), seed=0)


def test_another_task_takes_no_counters_directory(crowd: CrowdData, tmp_path: Path) -> None:
    (tmp_path / "supernet").mkdir()
    (tmp_path / "supernet" / "run.json").write_text('{"part": "supernet"}')
    with pytest.raises(EANError, match="holds a run of another task, a supernet"):
        train_counter(make_job(crowd, tmp_path), seed=0)


def test_averaged_weights_are_validated_saved_and_tested(crowd: CrowdData, tmp_path: Path) -> None:
    job = make_job(crowd, tmp_path, train__ema=0.9, train__epochs=2)
    directory = train_counter(job, seed=0)
    state = torch.load(directory / "last.pth", weights_only=True)
    name = "head.0.weight"
    averaged, raw = state["state_dict"][f"counter.{name}"], state["ema_state_dict"][f"module.counter.{name}"]
    assert not torch.equal(averaged, raw)
    assert torch.equal(weights(directory / "final.pth")[name], averaged)
    entries = json.loads((directory / "validation.json").read_text())
    model, _ = load_model(directory / "final.pth")
    errors = summarize_errors(evaluate(model, job.val_loader()))
    assert errors["mae"] == pytest.approx(entries[-1]["mae"], rel=1e-5)
    best = min(entries, key=lambda entry: entry["mae"])
    model, content = load_model(directory / "best.pth")
    assert content["epoch"] == best["epoch"]
    assert summarize_errors(evaluate(model, job.val_loader()))["mae"] == pytest.approx(best["mae"], rel=1e-5)


def test_the_trunk_learns_at_a_rate_of_its_own(crowd: CrowdData, tmp_path: Path) -> None:
    """With a factor of 0 only the head changes."""
    before = make_job(crowd, tmp_path / "job").spec
    torch.manual_seed(0)
    start = before.build().state_dict()
    directory = train_counter(make_job(crowd, tmp_path / "run", train__trunk_lr_factor=0.0, train__epochs=1), seed=0)
    trained = weights(directory / "final.pth")
    names = [name for name, _ in before.build().named_parameters()]
    assert all(torch.equal(trained[name], start[name]) == name.startswith("trunk.") for name in names)
