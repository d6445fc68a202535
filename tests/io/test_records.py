"""The results that later steps compute with: of their kind, or a sentence that names the record and the value."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from classification.task import TOP1, TOP5
from crowd_counting.fit import read_result as read_counter_result
from ean_core.io.records import write_record
from ean_core.pipeline.retrain import TrainingResult, read_result
from ean_core.utils.errors import EANError
from segmentation.run_records import read_run

TESTED = {"epoch": 1, "test": {"mae": 1.5, "rmse": 2.0, "nae": None}}
SCORES = {"mIoU": 50.0, "mAcc": 60.0, "aAcc": 70.0, "images": 3, "classes": [{"name": "a", "IoU": None}]}
PART = {"fingerprint": "ab", "images": 3}


def read_classifier(path: Path) -> TrainingResult:
    return read_result(path, SimpleNamespace(metrics=(TOP1, TOP5)))


KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any], Callable[[Path], Any]]] = {
    "classifier": ("train", {}, {"top1": 50.0, "top5": 80, "parameters": 9, "best_test_epoch": None}, read_classifier),
    "counter": (
        "counting",
        {},
        {"best": TESTED, "final": TESTED, "always_the_mean": {"mae": 3.0}, "parameters": 9},
        read_counter_result,
    ),
    "segmentor": (
        "segmentation-run",
        {"title": "t", "seed": 0, "backbone": {}, "data": {"train": PART}, "weights": None, "weights_sha256": None},
        {"network": "Org", "last": SCORES, "best_of_validations": SCORES, "parameters": 9, "backbone_parameters": 5}
        | {"seconds": 1.5},
        lambda path: read_run(path.parent),
    ),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_good_ones(tmp_path: Path, kind: str) -> None:
    name, settings, metrics, read = KINDS[kind]
    read(write_record(tmp_path / "result.json", kind=name, settings=settings, metrics=metrics))


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("classifier", "top1", "high"),
        ("classifier", "top1", 101),
        ("classifier", "top5", None),
        ("classifier", "best_test_epoch", 3),
        ("counter", "best", 3),
        ("counter", "best.test", {"rmse": 1.0}),
        ("counter", "final.test.mae", "x"),
        ("counter", "always_the_mean", {}),
        ("segmentor", "last.mIoU", None),
        ("segmentor", "last.classes", {}),
        ("segmentor", "parameters", -1),
        ("segmentor", "network", None),
    ],
)
def test_damaged_ones(tmp_path: Path, kind: str, place: str, value: Any) -> None:
    name, settings, metrics, read = KINDS[kind]
    metrics = copy.deepcopy(metrics)
    *path, last = place.split(".")
    part = metrics
    for key in path:
        part = part[key]
    part[last] = value
    write_record(tmp_path / "result.json", kind=name, settings=settings, metrics=metrics)
    with pytest.raises(EANError, match=r"record .*result\.json.* is damaged"):
        read(tmp_path / "result.json")
