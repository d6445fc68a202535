"""Resuming from a state that would run code is refused, and a directory that another run is at work in too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import make_target, train_network
from ean_core.pipeline.supernet import train_supernet
from ean_core.training import work_dir
from ean_core.training.classifier import ImageClassifier, SupernetClassifier
from ean_core.utils.errors import EANError
from tests.helpers.crafted_files import crafted_state
from tests.helpers.killing import Killed

MakeJob = Callable[..., Job]


@pytest.mark.parametrize("part", ["supernet", "org-seed0"])
def test_resuming(job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def train(*, resume: bool) -> None:
        again = job("run", resume=resume)
        train_supernet(again) if part == "supernet" else train_network(again, make_target(again, "org"), seed=0)

    def kill(*_: object, **__: object) -> None:
        raise Killed

    for cls in (SupernetClassifier, ImageClassifier):
        monkeypatch.setattr(cls, "losses", kill)
    with pytest.raises(Killed):
        train(resume=False)  # claims the directory
    crafted_state(tmp_path / "run" / part / "last.pth", tmp_path / "ran")
    with pytest.raises(EANError, match="last.pth holds more than weights"):
        train(resume=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_at_the_same_time(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    monkeypatch.setattr(work_dir, "PATIENCE", 0.0)
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / work_dir.LOCK):
        again = job("run", resume=resume)
        for train in (lambda: train_supernet(again), lambda: train_network(again, make_target(again, "org"), seed=0)):
            with pytest.raises(EANError, match="another run is using"):
                train()


def test_networks_of_another_recipe_do_not_share_a_directory(
    job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(ImageClassifier, "losses", kill)
    first, other = job("run"), job("run", **{"train.lr": 0.07})
    with pytest.raises(Killed):
        train_network(first, make_target(first, "org"), seed=0)
    with pytest.raises(EANError, match="holds runs with train.lr = 0.05, and this run has 0.07"):
        train_network(other, make_target(other, "share-full"), seed=1)
