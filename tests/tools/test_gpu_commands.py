"""The commands with what only a GPU has, on the smallest of everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Run

pytestmark = pytest.mark.gpu
DIGITS = ROOT / "classification/configs/quickstart_digits.py"


def metrics(path: Path) -> Any:
    """Read the metrics of the record that a command wrote."""
    record = json.loads(path.read_text())
    assert record["environment"]["device_type"] == "cuda"
    return record["metrics"]


def test_modes_are_timed(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    modes = ("bf16", "cuda_graph", "fused", "fused_bf16")
    run("benchmarks/network.py", "--quick", "--modes", *modes, "--output", out, gpu=True)
    assert list(metrics(out)) == ["plain", *modes]
    assert all(len(rows) == 7 for rows in metrics(out).values())


def test_increments_are_measured(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    how = ("--arch", "resnet20", "--batch-size", 2, "--rounds", 2, "--modes", "eager", "cuda_graph", "fused")
    run("tools/benchmark.py", *how, "--output", out, gpu=True)
    assert all(set(row["timings"]) == {"eager", "cuda_graph", "fused"} for row in metrics(out))


def test_steps_of_training_are_timed(run: Run, tmp_path: Path) -> None:
    out, sides = tmp_path / "record.json", ("bare", "engine", "fast", "fast-graph")
    run("benchmarks/training.py", "--quick", "--sides", *sides, "--output", out, gpu=True)
    assert list(metrics(out)) == ["plain", *sides]


def test_scoring_is_timed(run: Run, tmp_path: Path) -> None:
    out, sides = tmp_path / "record.json", ("ours-float32", "ours-bfloat16")
    run("benchmarks/scoring.py", "--quick", "--config", DIGITS, "--sides", *sides, "--output", out, gpu=True)
    assert list(metrics(out)) == ["plain", *sides]


def test_the_pipeline_in_cuda_graphs(run: Run, tmp_path: Path) -> None:
    short = ("supernet.epochs=2", "search.steps=3", "search.bn_images=200", "train.epochs=2", "seeds=[0]")
    done = run("tools/search.py", DIGITS, "--work-dir", "run", "--fast", "--cfg-options", *short, gpu=True)
    assert "train and supernet in bfloat16, channels_last, one CUDA graph per step" in done.stdout
    assert "warning" not in done.stdout  # that a graph cannot be captured
    rows = metrics(tmp_path / "run/summary.json")
    assert {row["network"] for row in rows} == {"Org", "Share-full", "EAN"}
    assert all(row["top1"]["mean"] > 15 for row in rows)  # chance is 10 %
