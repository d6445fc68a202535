"""The record of a segmentation run, checked, and what runs must share to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ean_core.io.records import read_record
from ean_core.utils.checked_dataclasses import Count, Percent, checked
from ean_core.utils.errors import EANError

SHARED_SETTINGS = ("title", "head", "iterations", "batch_size", "optim_wrapper", "crop", "processes")
"""Settings that runs which are compared must share, besides their data and architecture."""


@dataclass(frozen=True)
class ClassRow:
    """The IoU of one class; None without pixels."""

    IoU: Percent | None = None


@dataclass(frozen=True)
class Scores:
    """The scores of one validation, in percent."""

    mIoU: Percent
    mAcc: Percent = 0.0
    aAcc: Percent = 0.0
    images: Count = 0
    classes: tuple[ClassRow, ...] = ()
    per_image: tuple[float | None, ...] | None = None


@dataclass(frozen=True)
class SegmentationMetrics:
    """The metrics of a segmentation run's result.json."""

    network: str
    last: Scores
    best_of_validations: Scores
    parameters: Count
    backbone_parameters: Count
    seconds: float


@dataclass(frozen=True)
class DataPart:
    """Fingerprint and size of the training or validation list; earlier records lack the hash of its content."""

    fingerprint: str
    images: Count
    content: str | None = None


@dataclass(frozen=True)
class SegmentationSettings:
    """The settings in a segmentation run's result.json by which runs are compared."""

    title: str
    seed: Count
    backbone: Mapping[str, Any]
    data: Mapping[str, DataPart]
    weights: str | None
    weights_sha256: str | None


def read_run(directory: Path) -> dict[str, Any]:
    """Read the record of a run.

    Raises:
        EANError: if there is none, or it is of another kind.
    """
    path = directory / "result.json"
    if not path.is_file():
        raise EANError(f"{directory} has no result.json: give directories in which tools/train.py has finished")
    record = read_record(path)
    if record["kind"] != "segmentation-run":
        raise EANError(f"{path} is a record of kind {record['kind']!r}: give directories of segmentation runs")
    advice = "train it again"
    checked(SegmentationMetrics, record["metrics"], where=f"record {path}: metrics", advice=advice)
    checked(SegmentationSettings, record["settings"], where=f"record {path}: settings", advice=advice)
    return {"environment": {"commit": None}, **record, "directory": directory.name}


def common_settings(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all runs share, for the record.

    Raises:
        EANError: naming the first setting in which two runs differ.
    """
    first = records[0]
    for other in records[1:]:
        pairs = [(name, first["settings"].get(name), other["settings"].get(name)) for name in SHARED_SETTINGS]
        pairs += [("data." + part, fingerprint(first, part), fingerprint(other, part)) for part in ("train", "val")]
        contents = [(part, content(first, part), content(other, part)) for part in ("train", "val")]
        pairs += [(f"the files of data.{part}", *both) for part, *both in contents if None not in both]
        pairs += [("arch", first["settings"]["backbone"].get("arch"), other["settings"]["backbone"].get("arch"))]
        for name, value, other_value in pairs:
            if value != other_value:
                raise EANError(
                    f"{first['directory']} and {other['directory']} differ in {name} ({value} and {other_value}): give "
                    "runs of one recipe"
                )
    shared = {name: first["settings"][name] for name in (*SHARED_SETTINGS, "note", "data")}
    return {**shared, "arch": first["settings"]["backbone"].get("arch"), "runs": [describe(value) for value in records]}


def describe(record: dict[str, Any]) -> dict[str, Any]:
    """The origin of one run, for the record."""
    settings = record["settings"]
    return {
        "directory": record["directory"],
        "network": record["metrics"]["network"],
        "weights": settings["weights"],
        "weights_sha256": settings["weights_sha256"],
        "scheme": settings["backbone"].get("scheme"),
        "seed": settings["seed"],
        "seconds": record["metrics"]["seconds"],
        "commit": record["environment"]["commit"],
    }


def fingerprint(record: dict[str, Any], part: str) -> str:
    """Fingerprint of a run's training or validation list."""
    return record["settings"]["data"][part]["fingerprint"]


def content(record: dict[str, Any], part: str) -> str | None:
    """Hash of the files of a run's training or validation list; None in earlier records."""
    return record["settings"]["data"][part].get("content")
