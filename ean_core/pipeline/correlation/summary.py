"""The figures of a correlation study, after any number of trainings, and their record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.io.records import read_record, spread, write_record
from ean_core.pipeline.correlation.coverage import REPORT, with_earlier_seeds
from ean_core.pipeline.correlation.groups import draw_groups, print_groups
from ean_core.pipeline.correlation.show import draw_correlations, print_line, print_summary
from ean_core.pipeline.correlation.study import COUNT, Study
from ean_core.pipeline.correlation.training import finished_seeds, read_test_results
from ean_core.pipeline.task import Metric
from ean_core.utils.files import sha256_of
from ean_core.utils.intervals import (
    FEWEST_PAIRS,
    ceiling,
    correlation_differences,
    correlations,
    for_record,
    repeat_error,
    spread_against_error,
)


def summarize_study(
    study: Study,
    scores: Mapping[str, Sequence[float]],
    results: Sequence[Sequence[float]],
    *,
    seeds: Sequence[Sequence[int]] | None = None,
) -> dict[str, Any]:
    """The figures of the schemes that were trained with at least one seed.

    Args:
        study: what was drawn.
        scores: way -> score of each scheme, in percent.
        results: test results of each scheme, one per finished seed; maybe none.
        seeds: the finished seeds of each scheme; the first ones where they are not given.

    Returns:
        see `study_figures`.
    """
    metric, dataset = study.job.task.metrics[0], study.job.task.dataset()
    rows = [
        {
            "bits": scheme.text,
            "connections": scheme.connections,
            "scores": {way: values[index] for way, values in scores.items()},
            metric.key: spread(results[index]) if results[index] else None,
            "seeds": list(range(len(results[index])) if seeds is None else seeds[index]),
            "groups": [name for name, schemes in study.groups.items() if scheme in schemes],
        }
        for index, scheme in enumerate(study.schemes)
    ]
    return study_figures(
        rows,
        score=study.job.task.score,
        metric=metric,
        validation=study.job.task.count_validation_images(),
        test=dataset.test_images,
    )


def study_figures(
    rows: Sequence[Mapping[str, Any]], *, score: Metric, metric: Metric, validation: int, test: int
) -> dict[str, Any]:
    """The figures of a study from what was measured of each scheme, as its record keeps it.

    Args:
        rows: of each scheme "bits", "connections", "scores" (way -> percent) and the metric's key (spread of the test
            results, or None).
        score: what schemes were scored by.
        metric: what trained networks were tested by.
        validation, test: numbers of images of the scores and of the test results.

    Returns:
        "schemes", "trained", "correlations" (way -> coefficient), "difference" (calibrated minus running) and
        "spread" (way -> figures of all the scores; "trained" -> of the test results), and "ceiling" (see
        `ean_core.utils.intervals.ceiling`; None with one seed). Without `FEWEST_PAIRS` trained schemes there are only
        the first two and "spread".
    """
    trained = [row for row in rows if row[metric.key]]
    results = [row[metric.key]["mean"] for row in trained]
    ways = list(rows[0]["scores"])
    scores = {way: [row["scores"][way] for row in rows] for way in ways}
    figures: dict[str, Any] = {
        "schemes": list(rows),
        "trained": len(trained),
        "validation_images": validation,
        "spread": {way: spread_of(values, score, images=validation) for way, values in scores.items()},
    }
    if len(trained) < FEWEST_PAIRS:
        return figures
    proxies = {way: [row["scores"][way] for row in trained] for way in ways}
    proxies[COUNT] = [row["connections"] for row in trained]
    figures["correlations"] = {way: for_record(correlations(values, results)) for way, values in proxies.items()}
    running, calibrated = (proxies[way] for way in ways)
    figures["difference"] = for_record(correlation_differences(calibrated, running, results))
    repeats = [row[metric.key]["values"] for row in trained]
    figures["spread"]["trained"] = {
        **spread_of(results, metric, images=test),
        "seed_deviation": repeat_error(repeats),
    }
    highest = ceiling(repeats)
    figures["ceiling"] = {**highest.to_record(), "interval": "jackknife"} if highest else None
    return figures


def spread_of(values: Sequence[float], metric: Metric, *, images: int) -> dict[str, float | None]:
    """Mean, deviation and range of a metric over schemes, with its standard error where the number of images tells it.

    See `ean_core.utils.intervals.spread_against_error`.
    """
    if metric.proportion:
        return spread_against_error(values, images=images)
    array = np.asarray(values, dtype=float)
    return {
        "mean": float(array.mean()),
        "deviation": float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        "range": float(np.ptp(array)),
        "standard_error": None,
    }


def write_summary(study: Study, figures: Mapping[str, Any]) -> list[Path]:
    """correlation.json and the pictures that there is something for."""
    job, dataset = study.job, study.job.task.dataset()
    record = write_record(
        study.directory / REPORT,
        kind=study.job.record_kind("correlation"),
        settings={
            **job.record_settings(),
            "images": {
                "train": dataset.train_images,
                "validation": figures["validation_images"],
                "test": dataset.test_images,
                "reestimation": study.images,
            },
            "reestimation_batch": job.search.bn_batch_size,
            "draw_seed": study.draw_seed,
            "seeds": list(job.recipe.seeds),
            "supernet_sha256": sha256_of(study.supernet),
        },
        metrics=dict(figures),
    )
    files, content, task = [record], read_record(record), job.task
    if "correlations" in figures:
        files.append(draw_correlations(study.directory / "correlation.png", content, metric=task.metrics[0]))
    if len(study.groups) > 1 and figures["trained"]:
        picture = study.directory / "correlation.figure4.png"
        files.append(draw_groups(picture, content, score=task.score, metric=task.metrics[0]))
    return files


def report_study(study: Study, scores: Mapping[str, Sequence[float]], *, last: bool) -> list[Path]:
    """Write record and picture of the trainings so far, and print their table if no more follow, else a line.

    Seeds of an earlier report in the directory are reported on, too.

    Args:
        study: what was drawn.
        scores: way -> score of each scheme, in percent.
        last: whether no more trainings follow.

    Returns:
        the files.
    """
    study = with_earlier_seeds(study)
    figures = summarize_study(study, scores, read_test_results(study), seeds=finished_seeds(study))
    if last:
        task = study.job.task
        print_summary(figures, metric=task.metrics[0])
        print_groups(figures["schemes"], score=task.score, metric=task.metrics[0])
    else:
        print_line(figures)
    return write_summary(study, figures)
