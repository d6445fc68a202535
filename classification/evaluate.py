"""Testing a trained classifier on its own."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from classification.job import Job
from ean_core.io.records import write_record
from ean_core.networks import StagedNetwork
from ean_core.training.classifier import ImageClassifier
from ean_core.training.metrics import Confusion
from ean_core.training.runner import QuietRunner
from ean_core.utils.errors import batch_of
from ean_core.utils.files import sha256_of, write_atomic


def evaluate(job: Job, network: StagedNetwork, *, batch_size: int) -> tuple[dict[str, float], Tensor]:
    """Test on all the test images.

    Returns:
        the metrics, and the confusion matrix (K, K) of counts, rows the true class.
    """
    metric = Confusion(job.data.num_classes)
    log = tempfile.mkdtemp(prefix="ean-test-")  # MMEngine wants a place for its log, which says nothing of worth here
    runner: Runner = QuietRunner(
        ImageClassifier(network, job.normalise(channels_last=False)),
        log,
        test_dataloader=job.eval_loader(job.data.test, None, batch_size=batch_size, shared=True),
        test_cfg={},
        test_evaluator=[metric],
        default_hooks={"checkpoint": None},
        default_scope="mmengine",
        cfg=Config({}),
    )
    with batch_of(batch_size, option="--batch-size"):
        metrics = runner.test()
    shutil.rmtree(log, ignore_errors=True)
    assert metric.matrix is not None
    return metrics, metric.matrix


def write_test(out: Path, job: Job, metrics: dict[str, float], matrix: Tensor, *, checkpoint: str) -> None:
    """test.json and confusion.csv."""
    classes = job.data.classes
    counts = matrix.sum(dim=1).clamp(min=1)
    wrong = [
        (int(matrix[i, j]), classes[i], classes[j]) for i in range(len(classes)) for j in range(len(classes)) if i != j
    ]
    most: list[dict[str, Any]] = [
        {"images": count, "true": true, "predicted": predicted} for count, true, predicted in sorted(wrong)[::-1][:20]
    ]
    per_class = {name: float(100 * matrix[i, i] / counts[i]) for i, name in enumerate(classes)}
    write_record(
        out / "test.json",
        kind="test",
        settings={
            "recipe": job.recipe.name,
            "data": job.data_identity(),
            "checkpoint": Path(checkpoint).name,
            "checkpoint_sha256": sha256_of(checkpoint),
        },
        metrics={**metrics, "per_class_accuracy": per_class, "most_confused": [one for one in most if one["images"]]},
    )
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["true \\ predicted", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
    write_atomic(out / "confusion.csv", text.getvalue())
