"""The supernet of the pipeline: the paths that it trains, how they are scored, what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from classification.task import CALIBRATION_IMAGES
from ean_core import EANError, Scheme
from ean_core.networks.network_file import load_network, read_network_file
from ean_core.pipeline.retrain import make_target
from ean_core.pipeline.supernet import train_supernet
from ean_core.supernet.paths import draw_path
from ean_core.training.classifier import ImageClassifier
from tests.conftest import Script
from tests.pipeline.conftest import MakeJob


def test_every_supernet_step_trains_the_drawn_path(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Scheme] = []
    original = ImageClassifier.losses

    def watching(self, images, labels, **how):
        paths.append(self.network.scheme)
        return original(self, images, labels, **how)

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
    assert "supernet, epoch 1: all connected " in capsys.readouterr().out
    scalars = next((tmp_path / "run" / "supernet").glob("*/vis_data/scalars.json")).read_text()
    last = json.loads(scalars.strip().splitlines()[-1])
    assert {"all_on", "all_off", "random_mean", "random_std"} <= set(last)
    run = job("run", resume=True)
    network, _ = load_network(tmp_path / "run" / "supernet.pth")
    scores = run.task.make_scorer(network)([Scheme.all_on((3, 3, 3)), Scheme.all_off((3, 3, 3))])
    assert scores == [last["all_on"], last["all_off"]]
    calibrating = job("run", resume=True, **{"search.bn_images": CALIBRATION_IMAGES})
    calibrated = calibrating.task.make_scorer(network)([Scheme.all_on((3, 3, 3)), Scheme.all_off((3, 3, 3))])
    assert calibrated == [last["all_on_calibrated"], last["all_off_calibrated"]]
    assert calibrated != scores
    # A validation, calibration and all, leaves the training as it is.
    unwatched, _ = load_network(train_supernet(job("unwatched", **{"supernet.val_interval": 0})))
    for name, value in unwatched.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_a_recipe_that_calibrates_has_one_figure_for_each_end(job: MakeJob, capsys: pytest.CaptureFixture) -> None:
    train_supernet(job("run", **{"supernet.val_interval": 3, "search.bn_images": 40}))
    printed = capsys.readouterr().out
    assert "all connected" in printed
    assert "calibrated" not in printed


def test_an_averaged_supernet_is_what_is_saved(job: MakeJob) -> None:
    plain = read_network_file(train_supernet(job("plain")))["state_dict"]
    averaged = read_network_file(train_supernet(job("ema", **{"supernet.ema": 0.5})))["state_dict"]
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)


def test_a_supernet_with_mean_masks_is_searched_and_its_scheme_trained_without(job: MakeJob, tmp_path: Path) -> None:
    """The mean masks are trained, kept in the file, used by the scorer, and no part of the networks trained after."""
    run = job("run", **{"search.unconnected": "mean", "supernet.val_interval": 0, "supernet.epochs": 2})
    network = run.task.load_supernet(train_supernet(run))
    schemes = [Scheme.all_on((3, 3, 3)), Scheme.all_off((3, 3, 3))]
    scores = run.task.make_scorer(network)(schemes)
    assert all(bool((stage.mean_masks.steps > 0).any()) for stage in network.stages)
    for stage in network.stages:
        stage.mean_masks.masks.mul_(0.01)
    changed = run.task.make_scorer(network)(schemes)
    assert changed[0] == scores[0]
    assert changed[1] != scores[1]
    for value in ("org", "share-full", "100100100"):
        assert make_target(run, value).spec.unconnected == "identity"
    plain = job("run", resume=True, **{"supernet.val_interval": 0, "supernet.epochs": 2})
    with pytest.raises(EANError, match="was trained with model.unconnected = 'mean', and this run has 'identity'"):
        train_supernet(plain)


def test_the_option_of_the_command_is_the_recipes_field(tiny: Path, tmp_path: Path, script: Script) -> None:
    short = ("search.steps=2", "supernet.epochs=1", "supernet.val_interval=0")
    common = ("--no-retrain", "--work-dir", "run", "--cfg-options", *short)
    assert script("tools/search.py", tiny, "--unconnected", "mean", "--data-root", tmp_path, *common) == 0
    assert read_network_file(tmp_path / "run/supernet.pth")["model"]["unconnected"] == "mean"
