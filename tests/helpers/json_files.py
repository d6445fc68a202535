"""Every kind of JSON file that the project writes: a good value of each, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from classification.task import TOP1
from crowd_counting.fit import read_result as read_counting_result
from crowd_counting.hooks import KeepBest
from crowd_counting.summary import recorded_seeds
from ean_core.benchmark.latency_table import FORMAT as LATENCY
from ean_core.benchmark.latency_table import LatencyTable
from ean_core.io.records import FORMAT as RECORD
from ean_core.io.records import read_record
from ean_core.pipeline.comparison.compare import describe_run
from ean_core.pipeline.comparison.compare import read_run as read_search
from ean_core.pipeline.correlation.coverage import read_coverage as read_study_coverage
from ean_core.pipeline.correlation.study import WAYS, read_scores_file
from ean_core.pipeline.pareto_file import FORMAT as FRONT
from ean_core.pipeline.pareto_file import read_front
from ean_core.pipeline.retrain import pack_results, read_result
from ean_core.pipeline.summary_coverage import read_coverage
from ean_core.pipeline.task import Metric
from ean_core.scheme import Scheme
from ean_core.search.comparison import summarize_methods
from ean_core.training.epoch_log import best_test_epoch
from ean_core.training.work_dir import WorkDir, check_same, read_claim, read_work_dir
from ean_core.utils.recipe_file import read_recipe_file
from segmentation.run_records import read_run as read_run_of_segmentor


@dataclass(frozen=True)
class Kind:
    """A kind of file: a good value, its reader, and whether the reader takes a damaged file for a missing one."""

    value: Any
    read: Callable[[Path], Any]
    forgiving: bool = False


def results_of_trainings() -> dict[str, Kind]:
    """The result.json of each task."""
    trained = {"top1": 50.0, "best_test_epoch": {"top1": 51.0}, "per_image": pack_results(np.ones(5, bool))}
    tested = {"test": {"mae": 1.5, "rmse": 2.0}, "epoch": 1, "validation": {"mae": 1.0}}
    counted = {"best": tested, "final": tested, "always_the_mean": {"mae": 9.0}, "parameters": 7}
    scores = {"mIoU": 50.0, "mAcc": 50.0, "aAcc": 60.0, "images": 3, "classes": [{"IoU": 50.0}]}
    segmented = {"network": "Org", "last": scores, "best_of_validations": scores, "seconds": 1.0}
    segmented |= {"parameters": 3, "backbone_parameters": 2}
    part = {"fingerprint": "f", "images": 3}
    settings = {"title": "t", "seed": 0, "backbone": {"arch": "a"}, "data": {"train": part, "val": part}}
    settings |= {"weights": None, "weights_sha256": None}
    task = SimpleNamespace(metrics=(TOP1,))

    def record(kind: str, metrics: Any, **settings: Any) -> dict[str, Any]:
        return {"format": RECORD, "kind": kind, "settings": settings, "metrics": metrics}

    return {
        "classifier/result.json": Kind(record("train", trained), lambda path: read_result(path, task)),
        "counter/result.json": Kind(record("counting", counted), read_counting_result),
        "segmentor/result.json": Kind(
            record("segmentation-run", segmented, **settings), lambda path: read_run_of_segmentor(path.parent)
        ),
    }


def summaries() -> dict[str, Kind]:
    """The records that later runs in a directory must not replace by less; a damaged one holds nothing."""

    def record(kind: str, metrics: Any, **settings: Any) -> dict[str, Any]:
        return {"format": RECORD, "kind": kind, "settings": settings, "metrics": metrics}

    row = {"network": "Org", "scheme": "01"}
    study = record("correlation", {"schemes": [{"bits": "01"}]}, seeds=[0])
    return {
        "train.json": Kind(record("pipeline", [row], recipe={"seeds": [0]}), read_coverage, forgiving=True),
        "correlation.json": Kind(study, read_study_coverage),
        "summary.json": Kind(record("counting", {}, seeds=[0]), recorded_seeds, forgiving=True),
    }


def memories() -> dict[str, Kind]:
    """What a run keeps to go on; a damaged file is made again."""
    answer = {"bits": "01", "reward": 1.0, "validation_accuracy": 50.0, "connections": 1}
    run = {"returned": "best", "best": answer, "smoothed": answer, "most_probable": answer, "evaluations": 3}
    run |= {"spent": 3.0, "proposals": 3, "curve": {"evaluations": [1], "reward": [1.0], "accuracy": [50.0]}}
    run |= {"probability": None, "sampled": {"bits": ["01"], "accuracy": [50.0]}}
    scores = {"supernet_sha256": "s", "groups": {"spread": ["01"]}, **{way: {"01": 50.0} for way in WAYS}}
    search = {"key": {"seed": 0}, "run": run}
    return {
        "search.json": Kind(search, lambda path: use_search(read_search(path, {"seed": 0})), forgiving=True),
        "scores.json": Kind(scores, read_scores_file, forgiving=True),
        "test_accuracy.jsonl": Kind({"epoch": 1, "top1": 5.0}, best_test_epoch, forgiving=True),
    }


def use_search(run: dict[str, Any] | None) -> None:
    """What a comparison does with a search that it finds in a file."""
    if run is not None:
        describe_run({"method": "random", "seed": 0, **run}, Metric("top1", "accuracy", "%"))
        summarize_methods([{"method": "random", "seed": 0, **run}], highest=None)


def json_files() -> dict[str, Kind]:
    """Every kind of JSON file, by name."""
    interval = {"value": 1.0, "low": 0.5, "high": 1.5}
    table = {"format": LATENCY, "arch": "a", "attention": "se", "options": {}, "sharing": "stage", "blocks": [2]}
    table |= {"batch_size": 1, "image_size": 8, "device": "cpu", "setting": "eager", "threads": 1, "rounds": 3}
    table |= {"org": interval, "increments": [interval, interval]}
    point = {"number": 1, "bits": "01", "accuracy": 1.0, "cost": 1.0, "connections": 1}
    front = {"format": FRONT, "cost": "connections", "blocks": [2], "points": [point], "origin": {"arch": "a"}}
    record = {"format": RECORD, "kind": "train", "settings": {"seed": 0}, "metrics": {"top1": 1.5}}
    work_dir = {"task": "t", "settings": {"lr": 0.1}, "seeds": [0, 1]}
    validations = [{"epoch": 1, "mae": 2.5, "rmse": 3.0}]
    recipe = {"model": {"arch": "resnet20"}, "train": {"lr": 0.1, "epochs": 3}, "seeds": [0, 1]}
    claim = {"part": "search", "seed": 0, "data": {"name": "x"}, "search": {"bn_images": 0}}
    return {
        "scheme.json": Kind({"blocks": [2, 1], "stages": ["01", "1"], "arch": "a"}, Scheme.load),
        "record.json": Kind(record, read_record),
        "run.json": Kind(claim, lambda path: check_same(read_claim(path), {"part": "search"}, what=str(path))),
        "work_dir.json": Kind(work_dir, lambda path: read_work_dir(WorkDir(path.parent, "t"))),
        "latency.json": Kind(table, LatencyTable.load),
        "pareto.json": Kind(front, read_front),
        "validation.json": Kind(validations, lambda path: KeepBest(path, best=path, every=1, save=print).entries()),
        "recipe.json": Kind(recipe, read_recipe_file),
        **results_of_trainings(),
        **summaries(),
        **memories(),
    }
