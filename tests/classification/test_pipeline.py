"""The pipeline in this process: what it writes, and that an interrupted run ends as an uninterrupted one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classification.parts import Job
from classification.pipeline import run_pipeline
from classification.recipe import Recipe
from classification.retrain import make_target, train_all, train_network
from classification.search import search_scheme, with_method
from classification.supernet import make_scorer, reestimation_batches, train_supernet
from ean_core import EANError, Scheme
from ean_core.checkpoint import load_network, read_network_file
from ean_core.results import read_record
from ean_core.search.history import read_lines
from ean_core.supernet import Scorer, draw_path
from ean_core.training.classifier import ImageClassifier, SupernetClassifier
from tests.classification.conftest import TINY
from tests.conftest import ROOT

MakeJob = Callable[..., Job]


def start_tiny(directory: Path) -> Job:
    """The tiny recipe in a directory that tests share."""
    (directory / "tiny.py").write_text(TINY)
    return Job.start(Recipe.from_file(directory / "tiny.py"), data_root=directory, directory=directory / "run")


def ean_directory(directory: Path) -> Path:
    """Of the network of the scheme that was found."""
    (found,) = directory.glob("ean-*-seed0")
    return found


def outcome(directory: Path) -> tuple:
    """All that two equal runs must agree in."""
    lines = [(line["step"], line["bits"], line["accuracy"]) for line in read_lines(directory / "history.jsonl")]
    runs = {"org": directory / "org-seed0", "ean": ean_directory(directory)}
    weights = {name: read_network_file(one / "classifier.pth")["state_dict"] for name, one in runs.items()}
    sums = {f"{run}.{name}": float(value.double().sum()) for run, one in weights.items() for name, value in one.items()}
    results = [read_record(one / "result.json")["metrics"]["top1"] for one in runs.values()]
    return lines, Scheme.load(directory / "scheme.json"), sums, results


def test_pipeline_writes_what_it_promises(job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run_pipeline(job("run"))
    directory = tmp_path / "run"
    record = json.loads((directory / "scheme.json").read_text())
    assert (record["arch"], record["attention"], record["method"], record["seed"]) == ("resnet20", "se", "ean", 0)
    assert record["proposals"] == 16
    assert len(record["supernet_sha256"]) == 64
    lines = read_lines(directory / "history.jsonl")
    proposals = [line for line in lines if not line.get("final")]
    assert len(proposals) == 16
    assert {"step", "bits", "accuracy", "reward", "terms", "connections", "p", "p_mean", "seconds"} <= set(lines[0])
    assert set(lines[0]["terms"]) == {"sparsity", "accuracy", "curiosity"}
    assert lines[0]["reward"] == pytest.approx(lines[0]["terms"]["sparsity"] + lines[0]["terms"]["accuracy"])
    best = max(lines, key=lambda line: line["reward"])
    assert record["best"]["reward"] == pytest.approx(best["reward"], abs=1e-5)
    assert (directory / "search.png").read_bytes()[:4] == b"\x89PNG"
    summary = read_record(directory / "summary.json")
    assert [row["network"] for row in summary["metrics"]] == ["Org", "EAN"]
    assert summary["metrics"][0]["time_increment"]["value"] == 0
    assert summary["settings"]["images"] == {"train": 120, "test": 500}
    ean, content = load_network(ean_directory(directory) / "classifier.pth")
    assert str(ean.scheme) == " | ".join(record["stages"])
    assert len(content["classes"]) == 10
    printed = capsys.readouterr().out
    assert "scheme found" in printed
    assert "Org" in printed


def test_the_same_seed_gives_the_same_everything_and_another_seed_does_not(
    job: MakeJob, tmp_path: Path, uninterrupted: tuple
) -> None:
    run_pipeline(job("one"))
    assert outcome(tmp_path / "one") == uninterrupted
    run_pipeline(job("three", seed=1), retrain=False)
    assert read_lines(tmp_path / "one" / "history.jsonl") != read_lines(tmp_path / "three" / "history.jsonl")


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """The outcome of the tiny recipe's run in one go."""
    one = start_tiny(tmp_path_factory.mktemp("whole"))
    run_pipeline(one)
    return outcome(one.directory)


@pytest.mark.parametrize(
    ("where", "call"),
    [
        ((SupernetClassifier, "losses"), 1),  # in the first epoch: nothing saved yet
        ((SupernetClassifier, "losses"), 9),  # in the third epoch
        ((Scorer, "_pass"), 11),  # in the search, after the validation's five passes
        ((ImageClassifier, "losses"), 18),  # in the retraining: the supernet's twelve steps call it as well
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple, where: tuple, call: int
) -> None:
    owner, name = where
    original, calls = getattr(owner, name), []

    def killing(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, killing)
        with pytest.raises(Killed):
            run_pipeline(job("cut"))
    run_pipeline(job("cut", resume=True))
    assert outcome(tmp_path / "cut") == uninterrupted


def test_a_finished_run_resumed_does_nothing_again(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_pipeline(job("run"))
    before = outcome(tmp_path / "run")

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(ImageClassifier, "losses", never)
    run_pipeline(job("run", resume=True))
    assert outcome(tmp_path / "run") == before


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
def test_resuming_another_run_is_refused(job: MakeJob, changes: dict, sentence: str) -> None:
    train_supernet(job("run", **{"supernet.epochs": 1, "supernet.val_interval": 0}))
    with pytest.raises(EANError, match=sentence):
        train_supernet(job("run", resume=True, **{"supernet.epochs": 1, "supernet.val_interval": 0, **changes}))


def test_resuming_on_other_data_is_refused(job: MakeJob) -> None:
    train_supernet(job("run", **{"supernet.epochs": 1}))
    other = job("run", resume=True, **{"supernet.epochs": 1})
    other = dataclasses.replace(other, data=dataclasses.replace(other.data, fingerprint="0" * 16))
    with pytest.raises(EANError, match="data.fingerprint"):
        train_supernet(other)


def test_an_earlier_run_is_not_overwritten(job: MakeJob) -> None:
    train_supernet(job("run", **{"supernet.epochs": 1}))
    with pytest.raises(EANError, match="holds an earlier run: give --resume"):
        train_supernet(job("run", **{"supernet.epochs": 1}))


def test_a_truncated_state_is_named(job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classification.supernet.save_state_as_network", lambda *args, **kwargs: None)
    train_supernet(job("run", **{"supernet.epochs": 1}))
    state = tmp_path / "run" / "supernet" / "last.pth"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(EANError, match=r"last\.pth is damaged or truncated"):
        train_supernet(job("run", resume=True, **{"supernet.epochs": 1}))


def test_every_supernet_step_trains_the_drawn_path(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Scheme] = []
    original = ImageClassifier.losses

    def watching(self, images, labels):
        paths.append(self.network.scheme)
        return original(self, images, labels)

    monkeypatch.setattr(ImageClassifier, "losses", watching)
    train_supernet(job("run", **{"supernet.val_interval": 0}))
    assert paths == [draw_path((3, 3, 3), seed=0, step=step) for step in range(len(paths))]
    assert len(paths) == 12  # 80 sub-training images, 20 a step, 3 epochs
    paths.clear()
    train_supernet(job("sandwich", **{"supernet.val_interval": 0, "supernet.sandwich": True, "supernet.epochs": 1}))
    assert [path.connections for path in paths[:2]] == [9, 0]
    assert len(paths) == 16  # four paths a step


def test_validation_reports_both_ends_and_random_paths(
    job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    train_supernet(job("run", **{"supernet.val_interval": 1}))
    assert "supernet after epoch 1, %:  all_on " in capsys.readouterr().out
    scalars = next((tmp_path / "run" / "supernet").glob("*/vis_data/scalars.json")).read_text()
    last = json.loads(scalars.strip().splitlines()[-1])
    assert {"all_on", "all_off", "random_mean", "random_std"} <= set(last)
    one = job("run", resume=True)
    network, _ = load_network(tmp_path / "run" / "supernet.pth")
    scores = make_scorer(one, network)([Scheme.all_on((3, 3, 3)), Scheme.all_off((3, 3, 3))])
    assert [score.accuracy for score in scores] == [last["all_on"], last["all_off"]]


def test_split_is_balanced_and_never_holds_test_images(job: MakeJob) -> None:
    one = job("run")
    train, val = one.split()
    labels = one.data.train.labels
    assert torch.bincount(labels[val]).tolist() == [4] * 10
    assert torch.bincount(labels[train]).tolist() == [8] * 10
    assert not set(train.tolist()) & set(val.tolist())
    assert sorted([*train.tolist(), *val.tolist()]) == one.training_images().tolist()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("ema", 0.9),
        ("label_smoothing", 0.1),
        ("precision", "bfloat16"),
        ("warmup_epochs", 1.0),
        ("nesterov", True),
        ("schedule", "step"),
        ("val_interval", 1),
    ],
)
def test_every_training_option_changes_the_weights_if_it_should(
    job: MakeJob, plain_weights: dict, option: str, value: object
) -> None:
    directory = train_network(job("other", **{f"train.{option}": value}), make_target(job("x"), "111000101"), seed=0)
    got = load_network(directory / "classifier.pth")[0].state_dict()
    same = all(torch.equal(plain_weights[name], got[name]) for name in got)
    assert same == (option == "val_interval")
    assert all(torch.isfinite(one).all() for one in got.values())


@pytest.fixture(scope="module")
def plain_weights(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Of the tiny recipe as it is."""
    one = start_tiny(tmp_path_factory.mktemp("plain"))
    return load_network(train_network(one, make_target(one, "111000101"), seed=0) / "classifier.pth")[0].state_dict()


def test_memory_format_and_compilation_reach_the_network(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both leave the result as it is within rounding, so what is checked is that they are asked for."""
    formats, compiled = [], []
    original = ImageClassifier.losses

    def watching(self, images, labels):
        formats.append(
            images.is_contiguous(memory_format=torch.channels_last)
            and self.network.layer1.blocks[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
        )
        return original(self, images, labels)

    monkeypatch.setattr(ImageClassifier, "losses", watching)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **kwargs: compiled.append(type(self).__name__))
    monkeypatch.setattr("ean_core.supernet.compile_steps", lambda network: compiled.append("scoring"))
    options = {f"{part}.{name}": True for part in ("train", "supernet") for name in ("channels_last", "compile")}
    run_pipeline(job("run", retrain=["org"], **options))
    assert formats
    assert all(formats)
    assert [*dict.fromkeys(compiled)] == ["BasicBlock", "scoring", "ResNet"]
    assert compiled.count("BasicBlock") == 9


def test_an_averaged_supernet_is_what_is_saved(job: MakeJob) -> None:
    plain = read_network_file(train_supernet(job("plain")))["state_dict"]
    averaged = read_network_file(train_supernet(job("ema", **{"supernet.ema": 0.5})))["state_dict"]
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)


def test_search_options_reach_the_search(job: MakeJob, tmp_path: Path) -> None:
    supernet = train_supernet(job("plain"))
    search_scheme(job("plain"), supernet)
    plain = read_lines(tmp_path / "plain" / "history.jsonl")
    search_scheme(job("bn", **{"search.bn_images": 40}), supernet)
    again = read_lines(tmp_path / "bn" / "history.jsonl")
    accuracy = {line["bits"]: line["accuracy"] for line in plain}
    assert any(accuracy.get(line["bits"], line["accuracy"]) != line["accuracy"] for line in again)


def test_the_answer_is_the_one_asked_for_or_the_methods_own(job: MakeJob, tmp_path: Path) -> None:
    supernet = train_supernet(job("plain"))
    natural = job("smoothed")
    search = dataclasses.replace(natural.recipe.search, options={"preset": "natural"})
    wanted = {
        "most_probable": job("most_probable", **{"search.returned": "most_probable"}),
        "smoothed": dataclasses.replace(natural, recipe=natural.recipe.replace(search=search)),
        "best": job("best"),
    }
    for answer, one in wanted.items():
        record = json.loads(search_scheme(one, supernet).read_text())
        assert record["returned"] == answer
        assert " | ".join(record["stages"]) == record[answer]["bits"]
        assert record["smoothed"]["reward"] <= record["best"]["reward"]
    hsp = with_method(job("hsp", **{"search.returned": "most_probable"}), "hsp", {})
    assert json.loads(search_scheme(hsp, supernet).read_text())["returned"] == "best"  # it has no probabilities


def test_statistics_are_reestimated_over_images_as_they_were_trained_with(job: MakeJob) -> None:
    batches = reestimation_batches(job("run", **{"search.bn_images": 40, "search.bn_batch_size": 20}))
    first, again = ([batch["inputs"] for batch in batches] for _ in range(2))
    assert [len(batch) for batch in first] == [20, 20]
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    options = {"search.bn_images": 40, "search.bn_batch_size": 20, "data.augment": None}
    plain = torch.cat([batch["inputs"] for batch in reestimation_batches(job("plain", **options))])
    one = job("run")
    images = one.data.train.images[one.split()[0]]
    assert all((images == image).flatten(1).all(1).any() for image in plain)  # sub-training images, unchanged
    assert not torch.equal(torch.cat(first), plain)


def test_a_mistake_in_the_search_costs_nothing(job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(EANError, match="unknown search method 'eann'"):
        run_pipeline(job("run", **{"search.method": "eann"}), retrain=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(EANError, match="images"):
        run_pipeline(job("run", **{"data.val_per_class": 60}), retrain=False)
    run_pipeline(job("run"), retrain=False)  # the corrected command, without --resume


def test_a_search_can_be_extended_but_not_cut_short(job: MakeJob, tmp_path: Path) -> None:
    run_pipeline(job("long", **{"search.steps": 12}), retrain=False)
    run_pipeline(job("short"), retrain=False)
    with pytest.raises(EANError, match="has 8 steps, and 3 were asked for"):
        run_pipeline(job("short", resume=True, **{"search.steps": 3}), retrain=False)
    run_pipeline(job("short", resume=True, **{"search.steps": 12}), retrain=False)
    lines = [
        [(line["step"], line["bits"], line.get("final")) for line in read_lines(tmp_path / name / "history.jsonl")]
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


def test_finished_networks_are_taken_and_others_refused(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    org = make_target(job("run"), "org")
    directory = train_network(job("run"), org, seed=0)
    with pytest.raises(EANError, match=r"trained with train\.lr = 0.05, and this run has 0.2"):
        train_network(job("run", **{"train.lr": 0.2}), org, seed=0)
    with pytest.raises(EANError, match="are not all different"):
        train_all(job("run"), [org], [0, 0])
    with monkeypatch.context() as patch:
        patch.setattr(ImageClassifier, "losses", lambda *args: pytest.fail("trained again"))
        assert train_network(job("run"), org, seed=0) == directory
        (directory / "result.json").write_text("{")  # damaged: tested once more from the saved state
        train_network(job("run", resume=True), org, seed=0)
    assert read_record(directory / "result.json")["metrics"]["images"] == 500


def test_a_saved_average_is_what_was_tested(job: MakeJob, plain_weights: dict) -> None:
    directory = train_network(job("ema", **{"train.ema": 0.5}), make_target(job("x"), "111000101"), seed=0)
    network, content = load_network(directory / "classifier.pth")
    assert not torch.equal(network.state_dict()["fc.weight"], plain_weights["fc.weight"])
    one = job("x")
    normalise = one.normalise(channels_last=False)
    with torch.no_grad():
        right = sum(
            int((network(normalise(batch["inputs"])).argmax(1) == batch["labels"]).sum())
            for batch in one.eval_loader(one.data.test, None, batch_size=500, shared=False)
        )
    assert content["metrics"]["top1"] == pytest.approx(100 * right / 500)


def test_targets(job: MakeJob, tmp_path: Path) -> None:
    one = job("x")
    assert make_target(one, "org").spec.attention is None
    assert make_target(one, "org-full").spec.sharing == "block"
    assert make_target(one, "share-full").scheme.connections == 9
    assert make_target(one, "000 111 000").label == "ean-000111000"
    assert make_target(one, "000 111 000").directory(3) != make_target(one, "000 111 001").directory(3)
    Scheme.all_on((3, 3, 3)).save(tmp_path / "s.json", attention="dia")
    with pytest.raises(EANError, match="was found for attention 'dia', and the network has 'se'"):
        make_target(one, str(tmp_path / "s.json"))


def test_the_imagenet_recipe_runs_on_its_folder_layout(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for name in ("n01", "n02", "n03"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.JPEG")
    recipe = Recipe.from_file(
        ROOT / "classification/configs/ean_dia_r50_imagenet.py",
        {
            "model.arch": "resnet18",
            "data.image_size": 32,
            "data.val_per_class": 2,
            "data.workers": 1,
            "supernet.epochs": 1,
            "supernet.batch_size": 4,
            "search.steps": 1,
            "train.epochs": 1,
            "train.batch_size": 4,
            "retrain": ["ean"],
        },
    )
    run_pipeline(Job.start(recipe, data_root=tmp_path, directory=tmp_path / "w"))
    summary = read_record(tmp_path / "w" / "summary.json")
    assert summary["settings"]["images"] == {"train": 18, "test": 6}
    assert load_network(ean_directory(tmp_path / "w") / "classifier.pth")[1]["classes"] == ["n01", "n02", "n03"]
