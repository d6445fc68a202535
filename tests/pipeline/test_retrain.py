"""Networks trained from scratch: their options, what is saved, and which ones there are."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from classification.recipe import Recipe
from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.networks.network_file import load_network
from ean_core.pipeline.retrain import make_target, train_all, train_network
from ean_core.pipeline.summary import summarize
from ean_core.training.classifier import ImageClassifier
from ean_core.training.epoch_log import LogTestAccuracy, best_test_epoch, read_epochs
from tests.conftest import ROOT
from tests.helpers.tiny_recipe import start_tiny
from tests.pipeline.conftest import MakeJob


@pytest.fixture(scope="module")
def plain_weights(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Of the tiny recipe as it is."""
    tiny = start_tiny(tmp_path_factory.mktemp("plain"))
    return load_network(train_network(tiny, make_target(tiny, "111000101"), seed=0) / "classifier.pth")[0].state_dict()


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
    assert all(torch.isfinite(value).all() for value in got.values())


def test_a_saved_average_is_what_was_tested(job: MakeJob, plain_weights: dict) -> None:
    directory = train_network(job("ema", **{"train.ema": 0.5}), make_target(job("x"), "111000101"), seed=0)
    network, content = load_network(directory / "classifier.pth")
    assert not torch.equal(network.state_dict()["fc.weight"], plain_weights["fc.weight"])
    images = job("x").task.images
    normalize = images.normalize(channels_last=False)
    with torch.no_grad():
        right = sum(
            int((network(normalize(batch["inputs"])).argmax(1) == batch["labels"]).sum())
            for batch in images.eval_loader(images.data.test, None, batch_size=500, shared=False)
        )
    assert content["metrics"]["top1"] == pytest.approx(100 * right / 500)


def test_the_last_batch_of_an_epoch_is_left_out_or_kept(job: MakeJob) -> None:
    """The authors' loaders keep it; so do the paper's recipes."""
    for keep, sizes in ((False, [50, 50]), (True, [50, 50, 20])):
        run = job("x", **{"train.batch_size": 50, "train.keep_last": keep})
        loader = run.task.images.train_loader(run.task.images.training(), run.recipe.train, seed=0)
        assert [len(batch["labels"]) for batch in loader] == sizes
    for name in ("ean_se_r164_cifar100", "ean_se_r50_imagenet"):
        recipe = Recipe.from_file(ROOT / f"classification/configs/{name}.py")
        assert recipe.train.keep_last
        assert recipe.supernet.keep_last


def test_the_best_test_epoch_is_written_down_and_the_last_one_counts(job: MakeJob) -> None:
    run = job("run", **{"train.val_interval": 1, "retrain": ["org"]})
    (trained,) = train_all(run, [make_target(run, "org")], [0])
    lines = [json.loads(text) for text in (run.directory / "org-seed0" / "test_epochs.jsonl").read_text().splitlines()]
    tested = {line["epoch"]: line["top1"] for line in lines}
    assert list(tested) == [1, 2, 3]
    best = read_record(run.directory / "org-seed0" / "result.json")["metrics"]["best_test_epoch"]
    assert best == {"epoch": max(tested, key=tested.get), "top1": max(tested.values()), "tested": 3}
    assert trained.results["top1"] == (tested[3],)
    assert trained.best_epoch == (max(tested.values()),)
    assert summarize([trained], run)[0].to_record()["best_epoch_top1"]["mean"] == max(tested.values())


def test_of_a_damaged_or_repeated_test_line_the_later_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "test_epochs.jsonl"
    assert best_test_epoch(path) is None
    path.write_text('{"epoch": 1, "top1": 50.0}\n{"epoch": 2, "to\n{"epoch": 1, "top1": 40.0}\n')
    assert best_test_epoch(path) is None  # one epoch leaves no choice
    path.write_text(path.read_text() + '{"epoch": 3, "top1": 45.0}\n{"epoch": 4, "top1": 45.0}\n')
    assert best_test_epoch(path) == {"epoch": 3, "top1": 45.0, "tested": 3}
    path.write_text('{"epoch": 1, "top1": 40.0}\n{"epoch": 2, "to')
    LogTestAccuracy(path).after_val_epoch(SimpleNamespace(epoch=2), {"top1": 50.0})
    assert best_test_epoch(path) == {"epoch": 2, "top1": 50.0, "tested": 2}  # behind the line that was cut off
    LogTestAccuracy(path).before_train(SimpleNamespace(epoch=1))  # resumed from a state before that epoch
    assert read_epochs(path) == {1: 40.0}
    LogTestAccuracy(path).before_train(SimpleNamespace(epoch=0))  # another run, where one was given up
    assert read_epochs(path) == {}


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


def test_targets(job: MakeJob, tmp_path: Path) -> None:
    run = job("x")
    assert make_target(run, "org").spec.attention is None
    assert make_target(run, "org-full").spec.sharing == "block"
    assert make_target(run, "share-full").scheme.connections == 9
    assert make_target(run, "000 111 000").label == "ean-000111000"
    assert make_target(run, "000 111 000").directory(3) != make_target(run, "000 111 001").directory(3)
    Scheme.all_on((3, 3, 3)).save(tmp_path / "s.json", attention="dia")
    with pytest.raises(EANError, match="was found for attention 'dia', but the network has 'se'"):
        make_target(run, str(tmp_path / "s.json"))
