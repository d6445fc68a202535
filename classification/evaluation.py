"""Test of a trained classifier: accuracies, the confusion matrix, and their files."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor

from classification.images import Images
from ean_core.io.records import write_record
from ean_core.networks import StagedNetwork
from ean_core.training.classifier import ImageClassifier
from ean_core.training.metrics import Confusion
from ean_core.training.runner import QuietRunner
from ean_core.utils.errors import batch_of
from ean_core.utils.files import sha256_of, write_atomic


def evaluate(images: Images, network: StagedNetwork, *, batch_size: int) -> tuple[dict[str, float], Tensor]:
    """Test on all the test images.

    Returns:
        the metrics, and the confusion matrix (K, K) of counts, rows the true class.
    """
    metric = Confusion(images.data.num_classes)
    with tempfile.TemporaryDirectory(prefix="ean-test-") as log:  # MMEngine wants a place for its log, of no use here
        runner: Runner = QuietRunner(
            ImageClassifier(network, images.normalize(channels_last=False)),
            log,
            test_dataloader=images.eval_loader(images.data.test, None, batch_size=batch_size, shared=True),
            test_cfg={},
            test_evaluator=[metric],
            default_hooks={"checkpoint": None},
            default_scope="mmengine",
            cfg=Config({}),
        )
        with batch_of(batch_size, option="--batch-size"):
            metrics = runner.test()
    assert metric.matrix is not None
    return metrics, metric.matrix


def write_test(
    directory: Path,
    metrics: Mapping[str, float],
    matrix: Tensor,
    *,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    checkpoint: str | Path,
) -> None:
    """Write test.json and confusion.csv.

    Args:
        directory: where they go.
        metrics, matrix: as `evaluate` returns them.
        classes: names (K).
        settings: what the record says of recipe and data.
        checkpoint: the tested file, whose name and checksum go into the record.
    """
    counts = matrix.sum(dim=1).clamp(min=1)
    per_class = {name: float(100 * matrix[i, i] / counts[i]) for i, name in enumerate(classes)}
    file = {"checkpoint": Path(checkpoint).name, "checkpoint_sha256": sha256_of(checkpoint)}
    write_record(
        directory / "test.json",
        kind="test",
        settings={**settings, **file},
        metrics={**metrics, "per_class_accuracy": per_class, "most_confused": most_confused(matrix, classes)},
    )
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["true \\ predicted", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
    write_atomic(directory / "confusion.csv", text.getvalue())


def most_confused(matrix: Tensor, classes: Sequence[str], *, count: int = 20) -> list[dict[str, Any]]:
    """The pairs of different classes that are taken for each other most often, at most `count` of them.

    Args:
        matrix: counts (K, K), rows the true class.
        classes: names (K).
        count: of the pairs.
    """
    pairs = [
        (int(matrix[i, j]), true, predicted)
        for i, true in enumerate(classes)
        for j, predicted in enumerate(classes)
        if i != j and matrix[i, j]
    ]
    most = sorted(pairs, reverse=True)[:count]
    return [{"images": images, "true": true, "predicted": predicted} for images, true, predicted in most]
