"""The pipeline over a task other than classification: its metric is an error in people, and nothing is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.networks import count_parameters
from ean_core.networks.network_file import ModelSpec, load_network, save_network
from ean_core.pipeline.comparison.compare import Comparison
from ean_core.pipeline.correlation.selection import choose_schemes
from ean_core.pipeline.correlation.study import Study, prepare
from ean_core.pipeline.correlation.summary import report_study
from ean_core.pipeline.correlation.training import train_remaining
from ean_core.pipeline.job import Job
from ean_core.pipeline.pipeline import run_comparison, run_pipeline
from ean_core.pipeline.recipe import ModelRecipe, Recipe, SearchRecipe, SupernetRecipe
from ean_core.pipeline.task import DatasetInfo, Metric, TrainedNetwork, TrainingRun
from ean_core.search.comparison import Budget
from ean_core.search.history import read_lines
from ean_core.search.method_choice import parse_methods
from ean_core.training.settings import TrainSettings
from tests.helpers.tiny_recipe import ean_directory

BEST = "001000010"


def error_of(scheme: Scheme) -> float:
    """People, fewer the nearer the scheme is to `BEST`."""
    return 80.0 + 5.0 * sum(bit != int(best) for bit, best in zip(scheme.bits, BEST, strict=True))


@dataclass(frozen=True)
class MadeUpCounting:
    """Counts nobody: schemes and networks have the errors of `error_of`."""

    recipe: Recipe

    name: ClassVar[str] = "counting_by_hand"
    model: ClassVar[str] = "counter"
    score: ClassVar[Metric] = Metric("score", "score", "%")
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("mae", "MAE", "people", higher_is_better=False),)
    network_file: ClassVar[str] = "best.pth"

    def with_recipe(self, recipe: Recipe) -> MadeUpCounting:
        return dataclasses.replace(self, recipe=recipe)

    def describe(self) -> str:
        return "crowds: 3 photos"

    def dataset(self) -> DatasetInfo:
        fingerprint = {"name": "crowds", "split_seed": self.recipe.data["split_seed"]}
        return DatasetInfo("crowds", 3, 2, (3, 16, 16), fingerprint, search_only=frozenset({"split_seed"}))

    def data_arguments(self) -> list[str]:
        return []

    def count_validation_images(self) -> int:
        return 1

    def blocks(self) -> tuple[int, ...]:
        return (3, 3, 3)

    def spec(self, **changes: Any) -> ModelSpec:
        return dataclasses.replace(ModelSpec("resnet20", num_classes=1, attention="se"), **changes)

    def build(self, spec: ModelSpec) -> nn.Module:
        return spec.build()

    def starting_weights(self) -> dict[str, str]:
        return {}

    def train_supernet(self, run: TrainingRun, spec: ModelSpec) -> None:
        run.claim()
        save_network(run.output, self.build(spec), spec, recipe=run.identity)

    def load_supernet(self, path: Path) -> nn.Module:
        return load_network(path)[0]

    def make_scorer(self, supernet: nn.Module) -> Any:
        return lambda schemes: [100.0 - error_of(scheme) / 2 for scheme in schemes]

    def make_gradient(self, supernet: nn.Module, *, images: int, seed: int) -> Any:
        """Of the error, as if it were linear."""
        slope = np.array([-1.0 if bit == "1" else 1.0 for bit in BEST])
        return lambda a, *, step: (float(a @ slope), slope)

    def train_network(self, run: TrainingRun, spec: ModelSpec) -> TrainedNetwork:
        run.claim()
        network = self.build(spec)
        metrics = {"mae": error_of(network.scheme) + run.seed, "rmse": 200.0}
        save_network(run.output, network, spec, recipe=run.identity, metrics=metrics)
        return TrainedNetwork(metrics, count_parameters(network))

    def load_network(self, path: Path) -> nn.Module:
        return load_network(path)[0]

    def evaluate(self, network: nn.Module, *, batch_size: int) -> Mapping[str, float]:
        return {"mae": error_of(network.scheme)}


def make_job(directory: Path, *, resume: bool = False, retrain: Sequence[str] = ("org", "ean"), split: int = 0) -> Job:
    recipe = Recipe(
        name="crowds",
        model=ModelRecipe("resnet20"),
        data={"split_seed": split},
        train=TrainSettings(epochs=1, batch_size=1, lr=0.1),
        supernet=SupernetRecipe(epochs=1, batch_size=1, lr=0.1),
        search=SearchRecipe(steps=60, method="genetic", options={"population": 20}),
        retrain=tuple(retrain),
        seeds=(0, 2),
    )
    return Job(MadeUpCounting(recipe), directory, resume=resume)


def test_search_and_retraining(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    job = make_job(tmp_path)
    assert job.describe().startswith("resnet20 with se, crowds: 3 photos, on ")
    scheme = Scheme.load(run_pipeline(job))
    lines = read_lines(tmp_path / "history.jsonl")
    assert all(line.accuracy == 100 - error_of(Scheme.parse(line.bits, blocks=(3, 3, 3))) / 2 for line in lines)
    rows = read_record(tmp_path / "summary.json")["metrics"]
    assert [row["mae"]["values"] for row in rows] == [[90.0, 92.0], [error_of(scheme), error_of(scheme) + 2]]
    assert (ean_directory(tmp_path) / "best.pth").exists()
    printed = capsys.readouterr().out
    assert "test MAE people" in printed
    assert "accuracy" not in printed
    assert f"Org: {tmp_path}/org-seed0/best.pth, {tmp_path}/org-seed2/best.pth" in printed
    run_pipeline(make_job(tmp_path, resume=True))  # everything is there
    with pytest.raises(EANError, match="split_seed = 0, and this run has 1"):
        run_pipeline(make_job(tmp_path, resume=True, split=1))


def test_comparison_of_methods(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    what = Comparison(parse_methods(["random,darts"]), 1, Budget(evaluations=6, proposals=9))
    path = run_comparison(make_job(tmp_path, retrain=()), what, retrain=True)
    metrics = read_record(path)["metrics"]
    assert metrics["highest"]["bits"] == "001 | 000 | 010"
    assert metrics["highest"]["validation_accuracy"] == 60.0
    rows = read_record(path.with_name("retrained.json"))["metrics"]
    assert [row["methods"] for row in rows] == [["org"], ["random"], ["darts"]]
    assert path.with_name("retrained.png").exists()
    printed = capsys.readouterr().out
    assert "no block connected: reward " in printed
    assert "accuracy" not in printed


def test_correlation_study(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    study = Study(make_job(tmp_path), choose_schemes((3, 3, 3), spread=5), images=1)
    scores = prepare(study)
    assert len(list(train_remaining(study))) == 10
    report_study(study, scores, last=True)
    figures = read_record(tmp_path / "correlation.json")["metrics"]
    assert figures["correlations"]["running"]["pearson"]["value"] == pytest.approx(-1)
    assert figures["spread"]["trained"]["standard_error"] is None
    printed = capsys.readouterr().out
    assert "correlation with test MAE" in printed
    assert "accuracy" not in printed
