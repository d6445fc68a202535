"""Classification as a task of the pipeline."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

from classification.evaluation import most_confused
from ean_core.io.records import read_record
from ean_core.networks.network_file import load_network
from ean_core.pipeline.retrain import make_target, train_network
from ean_core.training.classifier import ImageClassifier
from tests.pipeline.conftest import MakeJob


def test_cudnn_may_try_its_kernels(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    job("run")
    assert torch.backends.cudnn.benchmark


def test_a_test_that_fails_leaves_no_files(job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    task = job("run").task
    network = task.build(task.spec())
    with monkeypatch.context() as patch:
        patch.setattr(ImageClassifier, "forward", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            task.evaluate(network, batch_size=100)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert task.evaluate(network, batch_size=100)["images"] == 500
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_search_split_is_not_asked_for_by_a_training(job: MakeJob) -> None:
    """A folder with too few images for a search can still be trained on."""
    run = job("run", **{"data.val_per_class": 60, "train.epochs": 1})
    directory = train_network(run, make_target(run, "org"), seed=0)
    assert read_record(directory / "result.json")["metrics"]["images"] == 500
    assert load_network(directory / "classifier.pth")[0].scheme.connections == 0


def test_the_pairs_that_are_confused_most() -> None:
    matrix = torch.tensor([[5, 2, 0], [1, 4, 3], [0, 0, 6]])
    pairs = [(pair["images"], pair["true"], pair["predicted"]) for pair in most_confused(matrix, ["a", "b", "c"])]
    assert pairs == [(3, "b", "c"), (2, "a", "b"), (1, "b", "a")]
    assert len(most_confused(matrix, ["a", "b", "c"], count=1)) == 1
