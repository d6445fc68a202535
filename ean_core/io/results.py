"""The result.json of a trained classifier, which later steps compute with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ean_core.io.records import read_record
from ean_core.io.typed import Count, Range, checked
from ean_core.utils.errors import EANError

Percent = Annotated[float, Range(0, 100)]


@dataclass(frozen=True)
class BestEpoch:
    """The epoch with the highest test accuracy of those that were tested; nothing was chosen by it."""

    epoch: Count
    top1: Percent
    tested: Count = 0


@dataclass(frozen=True)
class TrainedMetrics:
    """What training a classifier came to: test accuracies in percent, and its size."""

    top1: Percent
    top5: Percent
    parameters: Count | None = None
    best_test_epoch: BestEpoch | None = None


def read_trained(path: Path) -> TrainedMetrics:
    """The metrics of a trained classifier's record.

    Raises:
        EANError: if the record is damaged, or one of another kind of run.
    """
    record, advice = read_record(path), "move its folder away and train the network again"
    if record["kind"] != "train":
        raise EANError(f"{path} is a record of kind {record['kind']!r}, where a trained classifier's was expected")
    return checked(TrainedMetrics, record["metrics"], where=f"record {path}: metrics", advice=advice)
