"""What a correlation study says, after any number of trainings: figures, a table, a picture and a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from classification.correlation import Study, trained_accuracies
from classification.supernet import both_sections
from ean_core.io.records import read_record, spread, write_record
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
from ean_core.utils.progress import console
from ean_core.utils.text import how_many

COUNT = "connections"
"""A third way beside the two scores: a proxy that orders schemes no better than counting their connections is none."""


def summarise(
    study: Study, scores: Mapping[str, Sequence[float]], trained: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """The figures of the schemes that were trained with at least one seed.

    Args:
        study: what was drawn.
        scores: way -> score of each scheme, in percent.
        trained: test accuracies in percent of each scheme, one per finished seed; maybe none.

    Returns:
        see `figures_of`.
    """
    rows = [
        {
            "bits": scheme.text,
            "connections": scheme.connections,
            "scores": {way: values[index] for way, values in scores.items()},
            "top1": spread(trained[index]) if trained[index] else None,
        }
        for index, scheme in enumerate(study.schemes)
    ]
    return figures_of(rows, validation=len(study.job.split()[1]), test=len(study.job.data.test))


def figures_of(rows: Sequence[Mapping[str, Any]], *, validation: int, test: int) -> dict[str, Any]:
    """The figures of a study from what was measured of each scheme, as its record keeps it.

    Args:
        rows: of each scheme "bits", "connections", "scores" (way -> percent) and "top1" (of the test accuracies in
            percent, or None).
        validation, test: numbers of images of the scores and of the accuracies.

    Returns:
        "schemes", "trained", "correlations" (way -> coefficient), "difference" (re-estimated minus running) and
        "spread" (way -> figures of all the scores; "trained" -> of the test accuracies), and "ceiling" (see
        `ean_core.utils.intervals.ceiling`; None with one seed). Without `FEWEST_PAIRS` trained schemes there are only
        the first two and "spread".
    """
    done = [row for row in rows if row["top1"]]
    accuracies = [row["top1"]["mean"] for row in done]
    ways = list(rows[0]["scores"])
    scores = {way: [row["scores"][way] for row in rows] for way in ways}
    found: dict[str, Any] = {
        "schemes": list(rows),
        "trained": len(done),
        "validation_images": validation,
        "spread": {way: spread_against_error(values, images=validation) for way, values in scores.items()},
    }
    if len(done) < FEWEST_PAIRS:
        return found
    proxies = {way: [row["scores"][way] for row in done] for way in ways}
    proxies[COUNT] = [row["connections"] for row in done]
    found["correlations"] = {way: for_record(correlations(values, accuracies)) for way, values in proxies.items()}
    running, again = (proxies[way] for way in ways)
    found["difference"] = for_record(correlation_differences(again, running, accuracies))
    found["spread"]["trained"] = {
        **spread_against_error(accuracies, images=test),
        "seed_deviation": repeat_error([row["top1"]["values"] for row in done]),
    }
    highest = ceiling([row["top1"]["values"] for row in done])
    found["ceiling"] = {**highest.to_record(), "interval": "jackknife"} if highest else None
    return found


def print_summary(found: Mapping[str, Any]) -> None:
    """The figures on the screen."""
    total = len(found["schemes"])
    if "correlations" not in found:
        print(f"{found['trained']} of {total} schemes trained: a correlation needs {FEWEST_PAIRS}")
        return
    table = Table(title=f"{found['trained']} of {total} schemes trained from scratch", title_justify="left")
    table.add_column("correlation with test accuracy (95 %)", no_wrap=True)
    for head in ("Pearson's r", "Spearman's rho", "Kendall's tau"):
        table.add_column(head, justify="right", no_wrap=True)
    named = {way: f"score, batch norm {way}" for way in found["correlations"] if way != COUNT}
    for way, row in found["correlations"].items():
        table.add_row(named.get(way, "number of connections"), *(show(one) for one in row.values()))
    table.add_row("re-estimated minus running", *(show(one) for one in found["difference"].values()))
    if found["ceiling"]:
        table.add_row("of a score without error, at most", show(found["ceiling"]))
    console().print(table)
    for way, one in found["spread"].items():
        name = named.get(way, "test accuracy")
        text = f"{name}: mean {one['mean']:.2f} %, deviation {one['deviation']:.2f}, range {one['range']:.2f} points; "
        text += f"standard error of one {one['standard_error']:.2f}"
        if one.get("seed_deviation") is not None:
            text += f", deviation between seeds {one['seed_deviation']:.2f}"
        print(text)


def print_line(found: Mapping[str, Any]) -> None:
    """Where a study stands, in a line."""
    text = f"{found['trained']} of {len(found['schemes'])} schemes trained"
    if "correlations" in found:
        rows = {way: row for way, row in found["correlations"].items() if way != COUNT}
        text += "; rho " + ", ".join(f"{show(row['spearman'])} {way}" for way, row in rows.items())
    print(text, flush=True)


def show(one: Mapping[str, float | None]) -> str:
    """`+0.62 (+0.10 to +0.88)`; a dash where nothing varies."""
    if None in one.values():
        return "-"
    return f"{one['value']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})"


def write_summary(study: Study, found: Mapping[str, Any]) -> list[Path]:
    """correlation.json and, where there is a correlation, correlation.png; what a longer study wrote is replaced."""
    job = study.job
    record = write_record(
        study.directory / "correlation.json",
        kind="correlation",
        settings={
            **job.record_settings(),
            "images": {
                "train": len(job.training_images()),
                "validation": found["validation_images"],
                "test": len(job.data.test),
                "reestimation": study.images,
            },
            "reestimation_batch": both_sections(job)[1].bn_batch_size,
            "draw_seed": study.draw_seed,
            "seeds": list(job.recipe.seeds),
            "supernet_sha256": sha256_of(study.supernet),
        },
        metrics=dict(found),
    )
    if "correlations" not in found:
        return [record]
    return [record, draw_correlations(study.directory / "correlation.png", read_record(record))]


def draw_correlations(path: Path, record: Mapping[str, Any]) -> Path:
    """A scatter plot for each way of scoring.

    Args:
        path: a .png file; replaced atomically.
        record: of kind "correlation", with correlations.
    """
    from ean_core.report.plots_analysis import Panel, scatter_panels  # matplotlib takes a second to import

    found, panels = record["metrics"], []
    done = [row for row in found["schemes"] if row["top1"]]
    for way, coefficients in found["correlations"].items():
        counted = way == COUNT
        title = "number of connections" if counted else f"batch norm {way}"
        panels.append(
            Panel(
                title=f"{title}\nSpearman's rho {show(coefficients['spearman'])}",
                axis="connections" if counted else "score on the supernet, %",
                x=[row["connections"] if counted else row["scores"][way] for row in done],
                x_error=0.0 if counted else found["spread"][way]["standard_error"],
                whole=counted,
            )
        )
    counts = [row["top1"]["n"] for row in done]
    seeds = ("up to " if min(counts) < max(counts) else "") + how_many(max(counts), "seed")
    return scatter_panels(
        path,
        panels,
        y=[row["top1"]["mean"] for row in done],
        y_error=found["spread"]["trained"]["standard_error"],
        connections=[row["connections"] for row in done],
        y_axis="test accuracy trained from scratch, %",
        note=f"{record['settings']['recipe']['name']}, {how_many(len(done), 'scheme')}, {seeds} each; "
        "bars: standard error from the number of images alone",
    )


def report(study: Study, scores: Mapping[str, Sequence[float]], *, last: bool) -> list[Path]:
    """Record and picture of what there is, and its table if it is the `last` word, else a line."""
    found = summarise(study, scores, trained_accuracies(study))
    (print_summary if last else print_line)(found)
    return write_summary(study, found)
