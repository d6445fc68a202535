"""The supernet of the pipeline: the paths that it trains, how they are scored, what is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from classification.job import Job
from classification.supernet import make_scorer, reestimation_batches, train_supernet
from ean_core import Scheme
from ean_core.networks.checkpoint import load_network, read_network_file
from ean_core.supernet.scorer import draw_path
from ean_core.training.classifier import ImageClassifier

MakeJob = Callable[..., Job]


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


def test_an_averaged_supernet_is_what_is_saved(job: MakeJob) -> None:
    plain = read_network_file(train_supernet(job("plain")))["state_dict"]
    averaged = read_network_file(train_supernet(job("ema", **{"supernet.ema": 0.5})))["state_dict"]
    assert any(not torch.equal(plain[name], averaged[name]) for name in plain)


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
