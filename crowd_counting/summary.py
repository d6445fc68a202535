"""The summary of a counting run: mean and standard deviation over all its seeds, those of earlier commands too."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowd_counting.fit import BEST, FINAL, read_result
from crowd_counting.job import Job
from ean_core.inference.count_errors import by_part
from ean_core.io.records import processes_of, read_record, spread, write_record
from ean_core.training.run_key import check_keys, run_key
from ean_core.training.work_dir import check_same, read_claim
from ean_core.utils.checked_dataclasses import Count, checked
from ean_core.utils.errors import EANError

SUMMARY = "summary.json"


@dataclass(frozen=True)
class SummarySettings:
    """The seeds that a summary covers."""

    seeds: tuple[Count, ...]


def covered_seeds(job: Job, seeds: Sequence[int]) -> list[int]:
    """The seeds that the run's summary covers: those to train, and those that were trained before.

    Raises:
        EANError: if one was trained with other settings, or the summary would lose one.
    """
    covered = {*seeds, *(seed for seed in seeds_in(job.directory) if is_finished(job, seed))}
    if lost := recorded_seeds(job.directory / SUMMARY) - covered:
        gone, all_seeds = " ".join(map(str, sorted(lost))), " ".join(map(str, sorted(covered | lost)))
        raise EANError(
            f"{job.directory / SUMMARY} covers seed {gone}, which {job.directory} no longer holds: give --seeds "
            f"{all_seeds} --resume to train it again, or another --work-dir"
        )
    return sorted(covered)


def seeds_in(directory: Path) -> list[int]:
    """The seeds that have a directory in a run's directory."""
    names = [path.name for path in directory.glob("seed*")]
    return sorted(int(name.removeprefix("seed")) for name in names if re.fullmatch("seed(0|[1-9][0-9]*)", name))


def is_finished(job: Job, seed: int) -> bool:
    """Whether a seed's training ended; a damaged result counts as none.

    Raises:
        EANError: if it was trained with other settings.
    """
    directory = job.directory / f"seed{seed}"
    identity, result = job.identity(seed=seed), directory / "result.json"
    try:
        key = read_result(result).get("run")
    except EANError:
        return False
    check_same(read_claim(directory / "run.json"), identity, what=f"{directory} holds a counter trained with")
    check_keys([key], run_key(identity), file=result)
    return all((directory / name).exists() for name in (BEST, FINAL))


def recorded_seeds(path: Path) -> set[int]:
    """The seeds of a summary; none if it is missing or damaged."""
    try:
        return set(checked(SummarySettings, read_record(path)["settings"], where=str(path), advice="").seeds)
    except EANError:
        return set()


def summarize_seeds(job: Job, directories: Sequence[Path]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds; also written to the summary.

    Returns:
        {"best" or "final": {"mae", "rmse", ..: {"n", "mean", "std", "values"}}, ..}; of several parts each part has
        such figures, by its name.
    """
    records = [read_result(path / "result.json") for path in directories]
    metrics: dict[str, Any] = {}
    for name in ("best", "final"):
        tests = [by_part(record["metrics"][name]["test"]) for record in records]
        metrics[name] = unless_alone({part: spreads([test[part] for test in tests]) for part in tests[0]})
    metrics["processes"] = [count for path in directories if (count := processes_of(path)) is not None]
    baseline = by_part(records[0]["metrics"]["always_the_mean"])
    metrics["always_the_mean"] = unless_alone({part: {"mae": errors["mae"]} for part, errors in baseline.items()})
    metrics["parameters"] = records[0]["metrics"]["parameters"]
    settings = {key: value for key, value in records[0]["settings"].items() if key != "seed"}
    write_record(
        job.directory / SUMMARY,
        kind="counting",
        settings={**settings, "seeds": [record["settings"]["seed"] for record in records]},
        metrics=metrics,
        data_note=job.data.note,
        recipe=dataclasses.asdict(job.recipe),
    )
    return metrics


def spreads(tests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The spread of every error that all seeds have."""
    shared = [key for key in tests[0] if all(isinstance(errors.get(key), int | float) for errors in tests)]
    return {key: spread([errors[key] for errors in tests]) for key in shared}


def unless_alone(parts: dict[str, Any]) -> dict[str, Any]:
    """The figures by part, or those of the only part: the inverse of `by_part`."""
    return parts.get("", parts)
