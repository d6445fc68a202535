"""Weights & Biases gets a run per network, with its settings and all its scalars; a stand-in takes its place."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader

from ean_core import EANError
from ean_core.training.runner import build_runner
from ean_core.training.settings import TrainSettings


class Model(BaseModel):
    """A model whose loss is always 2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor, mode: str) -> Any:
        return {"loss": self.weight.sum() * 0 + 2} if mode == "loss" else inputs


class Five(BaseMetric):
    """A metric that is always 5."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(5.0)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {"five": results[0]}


class Wandb(SimpleNamespace):
    """The part of the package that is used; `runs` are what was told, one for each call of init."""

    Error = type("Error", (Exception,), {})
    Settings = staticmethod(dict)

    def __init__(self) -> None:
        super().__init__(runs=[], config=SimpleNamespace(update=self.update))

    def init(self, **arguments: Any) -> None:
        self.runs.append({"arguments": arguments, "scalars": {}, "config": {}})

    def update(self, config: dict[str, Any], **_: Any) -> None:
        self.runs[-1]["config"] |= config

    def log(self, scalars: dict[str, Any], **_: Any) -> None:
        self.runs[-1]["scalars"] |= scalars


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    """In place of the package."""
    monkeypatch.setitem(sys.modules, "wandb", stand_in := Wandb())
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return stand_in


def train(directory: Path) -> None:
    """Two steps, then a validation outside of the training, as networks are tested."""
    loader = DataLoader([{"inputs": torch.zeros(1)}] * 2)
    validation = {"val_dataloader": loader, "val_cfg": {}, "val_evaluator": [Five()]}
    settings = TrainSettings(epochs=1, batch_size=1, lr=0.25)
    runner = build_runner(
        Model(), loader, settings, work_dir=directory, seed=0, validation=validation, backends=["WandbRun"]
    )
    runner.train()
    runner.val_loop.run()


def test_a_run_for_every_network(tmp_path: Path, wandb: Wandb) -> None:
    for name in ("org-seed0", "ean-seed0"):
        train(tmp_path / "quickstart" / name)
    assert [run["arguments"]["name"] for run in wandb.runs] == ["quickstart/org-seed0", "quickstart/ean-seed0"]
    for run in wandb.runs:
        assert run["arguments"]["project"] == "ean"
        assert run["arguments"]["reinit"] == "finish_previous"
        assert run["config"]["settings"]["lr"] == 0.25
        assert (run["scalars"]["loss"], run["scalars"]["five"]) == (2.0, 5.0)


def test_without_an_account_it_says_what_to_do(tmp_path: Path, wandb: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise Wandb.Error("No API key configured.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(EANError, match=r"cannot start a run \(No API key configured\.\): log in .* WANDB_MODE=offline"):
        train(tmp_path)
