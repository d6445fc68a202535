"""One JSON record per run: settings, data, versions and results.

Every figure in the README comes from such a record under results/.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from ean_core.io.file_format import later_version
from ean_core.io.json_file import read_json
from ean_core.io.to_json import to_json
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic

FORMAT = "ean-record-1"


@dataclass(frozen=True)
class Record:
    """The fields of every record; the content of `settings` and `metrics` depends on its kind."""

    kind: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any] | list[Any]
    environment: Mapping[str, Any] | None = None


_PACKAGES = ("torch", "torchvision", "numpy", "onedl-mmengine", "onedl-mmcv", "onedl-mmsegmentation")


def write_record(path: str | Path, *, kind: str, settings: Mapping[str, Any], metrics: Any, **extra: Any) -> Path:
    """Write a record, replacing the file atomically.

    Args:
        path: a .json file.
        kind: such as "pipeline", "train", "benchmark"; selects the section of the report.
        settings: everything needed to repeat the run: recipe, data and its fingerprint, seed.
        metrics: results as JSON values, with n and spread of repetitions.
        extra: further top-level fields.

    Raises:
        EANError: for a number that is not finite, which JSON cannot hold.
    """
    record = {"format": FORMAT, "kind": kind, "settings": portable(settings), "metrics": metrics, **extra}
    record["environment"] = environment()
    path = Path(path)
    write_atomic(path, to_json(record, what=path, indent=2, default=str) + "\n")
    return path


def portable(value: Any) -> Any:
    """Settings with absolute paths shortened: relative to the current directory, or else the last three parts.

    Records are shared, and paths of one machine mean nothing on others.
    """
    if isinstance(value, Mapping):
        return {name: portable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    if isinstance(value, (str, Path)) and Path(value).is_absolute():
        path, cwd = Path(value), Path.cwd()
        return (path.relative_to(cwd) if path.is_relative_to(cwd) else Path(*path.parts[1:][-3:])).as_posix()
    return value


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        EANError: if the file cannot be read or is not a record.
    """
    advice = "run the command that writes it again"
    record = read_json(path, what="record", advice=advice)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else None
        raise later_version(path, found, FORMAT) or EANError(
            f"{path} is not a record of this project (expected format {FORMAT!r})"
        )
    checked(Record, record, where=f"record {path}", advice=advice)
    return record


def processes_of(directory: Path) -> int | None:
    """How many processes a training ended with, as its result.json says; None where it does not say so."""
    try:
        count = (read_record(directory / "result.json").get("environment") or {}).get("processes")
    except EANError:
        return None
    return count if isinstance(count, int) else None


def processes_note(by_network: Mapping[str, Sequence[int]]) -> str | None:
    """A sentence where networks that are compared were trained by different numbers of processes, else None.

    Args:
        by_network: name -> the number of processes of each of its trainings, as far as it is known.
    """
    if len({count for counts in by_network.values() for count in counts}) < 2:
        return None
    said = ", ".join(
        f"{name} {'/'.join(map(str, sorted(set(counts))))}" for name, counts in by_network.items() if counts
    )
    return (
        f"Trained by different numbers of processes ({said}): each normalizes its own part of a batch, so the "
        "trainings are not the same."
    )


def spread(values: Sequence[float]) -> dict[str, Any]:
    """n, mean and sample standard deviation (None for a single value), with the values."""
    return {
        "n": len(values),
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }


def environment() -> dict[str, Any]:
    """Device, number of processes, versions, commit and time of a run."""
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else cpu_name(),
        "device_type": "cuda" if cuda else "cpu",
        "devices": torch.cuda.device_count() if cuda else 1,
        "processes": rank_and_world()[1],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "cuda": torch.version.cuda if cuda else None,
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def commit() -> str | None:
    """The commit of the checkout, with "+changes" if files differ; outside a checkout, EAN_COMMIT if set."""
    fallback = os.environ.get("EAN_COMMIT") or None  # for machines that get the files without .git
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != root:
            return fallback
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return fallback


def cpu_name() -> str:
    """The processor's model name, and the number of cores torch sees."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} CPU"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
