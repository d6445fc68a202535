"""What an earlier report of a study covers, so that none is replaced by one that holds less."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ean_core.io.records import read_record
from ean_core.pipeline.correlation.study import Study
from ean_core.utils.checked_dataclasses import Count, checked
from ean_core.utils.errors import EANError

REPORT = "correlation.json"


@dataclass(frozen=True)
class SchemeOf:
    """A scheme of a report."""

    bits: str


@dataclass(frozen=True)
class MetricsOf:
    """The schemes of a report."""

    schemes: tuple[SchemeOf, ...]


@dataclass(frozen=True)
class SettingsOf:
    """The seeds of a report."""

    seeds: tuple[Count, ...]


def with_earlier_seeds(study: Study) -> Study:
    """The study with the seeds, too, that the report in its directory has, for a report that replaces it.

    Raises:
        EANError: if the report has schemes that the study lacks.
    """
    path = study.directory / REPORT
    try:
        schemes, seeds = read_coverage(path)
    except EANError:  # missing or damaged, which is no loss
        return study
    if lost := schemes - {scheme.text for scheme in study.schemes}:
        raise EANError(
            f"this study lacks {len(lost)} of the {len(schemes)} schemes in {path}, such as {min(lost)}: give the "
            "flags that drew them, --report alone to report on all, or another --work-dir"
        )
    job = study.job.replace_recipe(seeds=tuple(sorted({*study.job.recipe.seeds, *seeds})))
    return dataclasses.replace(study, job=job)


def read_coverage(path: Path) -> tuple[set[str], set[int]]:
    """The schemes and seeds of a report.

    Raises:
        EANError: if it is missing or damaged.
    """
    record = read_record(path)
    metrics = checked(MetricsOf, record["metrics"], where=str(path), advice="")
    settings = checked(SettingsOf, record["settings"], where=str(path), advice="")
    return {scheme.bits for scheme in metrics.schemes}, set(settings.seeds)
