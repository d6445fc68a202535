"""A counter is trimmed on the photos that were held out from its training."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crowd_counting.data.holdout import hold_out
from crowd_counting.data.load import load_crowd
from crowd_counting.data.points import CrowdData
from crowd_counting.evaluation import score_file
from crowd_counting.metrics import summarize_errors
from crowd_counting.model.counter_file import load_counter, save_counter
from crowd_counting.model.network import CounterSpec
from ean_core.deploy.mean_mask import find_calls
from ean_core.io.records import read_record
from ean_core.scheme import Scheme
from tests.conftest import Script
from tests.crowd_counting.test_several_parts import both, photos, relative_error_slowly

__all__ = ["both"]


def counter(folder: Path, crowd: CrowdData, *, fingerprint: str | None = None, **changes: Any) -> Path:
    """An untrained counter with two attention calls, as a training would have written it."""
    torch.manual_seed(0)
    spec = CounterSpec("resnet20", "se", scheme="010 | 000 | 001", head_channels=8)
    val = [image.name for image in hold_out(crowd.train, seed=0, share=0.4)[1]]
    data = {"name": crowd.name, "fingerprint": fingerprint or crowd.fingerprint(), "val": val, "crop": 48, "workers": 0}
    data |= changes
    path = folder / "best.pth"
    if crowd.empty_scenes:
        data["empty"] = crowd.empty_scenes
    plain = {"mean": [0.5] * 3, "std": [0.25] * 3, "epoch": 2, "recipe": {"part": "counter", "data": data}}
    save_counter(path, spec.build().eval(), spec, **plain)
    return path


@pytest.fixture
def trim(script: Script, crowd_root: Path) -> Any:
    """`trim(path)` runs tools/trim.py on the tiny photos."""
    return lambda path, *arguments: script("../tools/trim", path, "--data-root", crowd_root, *arguments)


def test_a_counter_is_trimmed_by_its_validation_photos(
    tmp_path: Path, crowd: CrowdData, trim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crowd_counting.trim.CounterTrim.image_shape", (3, 32, 32))
    path = counter(tmp_path, crowd)
    assert trim(path, "--rounds", 2, "--max-drop", 1000) == 0
    folder = tmp_path / "trim_best"
    record = read_record(folder / "trim.json")
    assert record["settings"]["parts"] | {"note": ""} == {"training": 5, "validation": 3, "test": 3, "note": ""}
    assert sorted(record["metrics"]["folded"]) == ["layer1.1", "layer3.2"]
    trimmed, content = load_counter(folder / "trimmed.pth")
    assert find_calls(trimmed) == []
    assert content["model"]["scheme"] == "000000000"
    assert Scheme.load(folder / "scheme.json").connections == 0
    for file, value in ((path, "before"), (folder / "trimmed.pth", "after")):
        mae = summarize_errors(score_file(file, crowd.test)[0])["mae"]
        assert record["metrics"]["test"][value] == pytest.approx(mae, rel=1e-5)


def test_other_photos_and_flags_of_other_tasks_are_refused(
    tmp_path: Path, crowd: CrowdData, trim: Any, capsys: Any
) -> None:
    path = counter(tmp_path, crowd, fingerprint="0" * 16)
    assert trim(path) == 2
    assert "was trained on part_A, and not on these photos of part_A" in capsys.readouterr().err
    counter(tmp_path, crowd, name="points")
    assert trim(path) == 2
    assert "was trained on points: give --annotations FILE or --part" in capsys.readouterr().err
    assert trim(path, "--finetune", 3) == 2
    assert "--finetune is for classifiers" in capsys.readouterr().err
    assert trim(path, "--test-is-validation") == 2
    assert "is a crowd counter" in capsys.readouterr().err


def test_a_counter_of_several_parts_is_trimmed_by_the_relative_error_of_all(
    both: Path, tmp_path: Path, trim: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("crowd_counting.trim.CounterTrim.image_shape", (3, 32, 32))
    nobody, other = (photos(tmp_path / name, count=4, seed=seed) for seed, name in enumerate(("nobody", "other")))
    data = load_crowd(parts=["A", "B"], data_root=str(both), empty=str(nobody))
    path, how = counter(tmp_path, data), ("--rounds", 2, "--batch-size", 1, "--max-drop", 1000)
    assert trim(path, *how) == 2
    assert "was trained with 4 photos without people: give their folder, --empty FOLDER" in capsys.readouterr().err
    assert trim(path, *how, "--empty", other) == 2
    assert "not on these photos of part_A+part_B and without people: give" in capsys.readouterr().err
    assert trim(path, *how, "--empty", nobody) == 0
    printed = capsys.readouterr().out
    assert "points of relative error (95 %: " in printed
    assert re.search(r"next: python \S*crowd_counting/predict.py \S*trimmed.pth PHOTO.jpg", printed)
    metrics = read_record(tmp_path / "trim_best/trim.json")["metrics"]
    assert list(metrics["groups"]["validation"]) == [f"MAE on {name}, people" for name in ("part_A", "part_B", "empty")]
    for file, value in ((path, "before"), (tmp_path / "trim_best/trimmed.pth", "after")):
        rows, _ = score_file(file, data.test)
        assert metrics["test"][value] == pytest.approx(100 * relative_error_slowly(rows), rel=1e-4)
        of_a = [abs(row.error) for row in rows if row.part == "part_A"]
        assert metrics["groups"]["test"]["MAE on part_A, people"][value] == pytest.approx(np.mean(of_a), rel=1e-4)
