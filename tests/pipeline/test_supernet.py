"""The supernet of the pipeline: the paths that it trains, how they are scored, what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from classification.task import CALIBRATION_IMAGES
from ean_core import Scheme
from ean_core.networks.network_file import load_network, read_network_file
from ean_core.pipeline.supernet import train_supernet
from ean_core.supernet.paths import draw_path
from ean_core.training.classifier import ImageClassifier
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
    assert "supernet after epoch 1, %:  all_on " in capsys.readouterr().out
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
    assert "all_on" in printed
    assert "calibrated" not in printed


def test_an_averaged_supernet_is_what_is_saved(job: MakeJob) -> None:
    plain = read_network_file(train_supernet(job("plain")))["state_dict"]
    averaged = read_network_file(train_supernet(job("ema", **{"supernet.ema": 0.5})))["state_dict"]
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
