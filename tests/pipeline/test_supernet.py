"""The supernet of the pipeline: the paths that it trains, how they are scored, what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ean_core import Scheme
from ean_core.networks.checkpoint import load_network, read_network_file
from ean_core.pipeline.supernet import train_supernet
from ean_core.supernet.scorer import draw_path
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
    one = job("run", resume=True)
    network, _ = load_network(tmp_path / "run" / "supernet.pth")
    scores = one.task.make_scorer(network)([Scheme.all_on((3, 3, 3)), Scheme.all_off((3, 3, 3))])
    assert scores == [last["all_on"], last["all_off"]]


def test_an_averaged_supernet_is_what_is_saved(job: MakeJob) -> None:
    plain = read_network_file(train_supernet(job("plain")))["state_dict"]
    averaged = read_network_file(train_supernet(job("ema", **{"supernet.ema": 0.5})))["state_dict"]
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)
