"""Score counter files on test images, and print and write the metrics."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from crowd_counting.data.points import EMPTY, CrowdData, CrowdImage
from crowd_counting.job import whole_images
from crowd_counting.metrics import (
    GAME_LEVELS,
    ImageErrors,
    errors_by_count,
    group_by_part,
    summarize_empty,
    summarize_parts,
)
from crowd_counting.model.counter_file import load_counter, normalization_of
from crowd_counting.model.training_model import CountingModel, evaluate
from ean_core.data.normalize import Normalize
from ean_core.inference.count_errors import EmptyScenes, RangeErrors, by_part
from ean_core.io.made_from import claim_outputs, digest_of_files
from ean_core.io.records import write_record
from ean_core.utils.files import sha256_of, write_atomic
from ean_core.utils.progress import bar
from ean_core.utils.screen import make_table, print_table, say

SHOWN_LEVELS = GAME_LEVELS[1:]  # GAME 0 is the MAE
HEADS = ("MAE", "RMSE (papers: MSE)", "NAE", *(f"GAME {level}" for level in SHOWN_LEVELS))
KEYS = ("mae", "rmse", "nae", *(f"game{level}" for level in SHOWN_LEVELS))


def load_model(path: str | Path) -> tuple[CountingModel, dict[str, Any]]:
    """Load a counter file as a model in eval mode on the default device; also return the file's other content."""
    counter, content = load_counter(path)
    model = CountingModel(counter, Normalize(*normalization_of(path, content)))
    return model.to(get_device()).eval(), content


def score_file(path: Path, images: tuple[CrowdImage, ...]) -> tuple[list[ImageErrors], dict[str, Any]]:
    """Score whole images at batch size 1; also return the file's other content."""
    model, content = load_model(path)
    with bar(f"test {path.stem}", len(images)) as progress:
        rows: list[ImageErrors] = []
        for batch in whole_images(images, stride=model.counter.stride):
            rows += evaluate(model, [batch])
            if progress is not None:
                progress.update(len(rows))
    return rows, content


def score_files(
    files: Sequence[Path], data: CrowdData, out: Path, *, empty: Sequence[CrowdImage] = ()
) -> dict[str, dict[str, Any]]:
    """Score counter files, print the metrics, and write test.json and one CSV of image errors per file.

    Args:
        files: of the counters.
        data: whose test images are counted.
        out: folder of the results.
        empty: photos without people, which are counted too.

    Returns:
        metrics by file stem: those of `summarize_parts`, each with "by_count", a list of `RangeErrors`; and "empty", an
        `EmptyScenes`, if there are such photos.

    Raises:
        EANError: if `out` has results of other files or data, see `claim_outputs`.
    """
    nobody = digest_of_files(image.path for image in empty) if empty else None
    claim_outputs(out, inputs_of_scores(files, data, photos=f"{len(empty)} ({nobody})" if empty else None))
    metrics: dict[str, dict[str, Any]] = {}
    checkpoints: dict[str, dict[str, Any]] = {}
    tables: dict[str, list[ImageErrors]] = {}
    for file in files:
        rows, content = score_file(file, (*data.test, *empty))
        tables[file.stem], metrics[file.stem] = rows, test_figures(rows)
        if nobody is not None and nobody == trained_empty(content):
            say(f"warning: {file.stem} was trained on these {len(empty)} photos without people: give others")
        checkpoints[file.stem] = {
            "sha256": sha256_of(file),
            "epoch": content.get("epoch"),
            "trained_with": content.get("recipe"),
        }
    print_scores(metrics, title=f"{data.name}: {len(data.test)} test images, whole, batch size 1")
    for name, figures in metrics.items():
        print_ranges(name, figures)
        if "empty" in figures:
            say(f"{name}: counts {EmptyScenes(**figures['empty'])}")
    for name, rows in tables.items():
        write_table(out / f"{name}_images.csv", rows)
    settings = {
        "data": data.name,
        "fingerprint": data.fingerprint(),
        "images": len(data.test),
        **({"empty": {"images": len(empty), "content": nobody}} if empty else {}),
        "checkpoints": checkpoints,
    }
    write_record(out / "test.json", kind="counting", settings=settings, metrics=metrics, data_note=data.note)
    return metrics


def inputs_of_scores(files: Sequence[Path], data: CrowdData, *, photos: str | None) -> dict[str, dict[str, Any]]:
    """What the files of `score_files` are made from, see `claim_outputs`.

    Args:
        files, data: as there.
        photos: number and content of the photos without people; None without any.
    """
    images = {"data": f"{data.name} ({data.fingerprint()} {digest_of_files(image.path for image in data.test)})"}
    if photos is not None:
        images["photos without people"] = photos
    digests = {file.stem: digest_of_files([file]) for file in files}
    inputs = {f"{name}_images.csv": {"checkpoint": digest, **images} for name, digest in digests.items()}
    return {**inputs, "test.json": {"checkpoints": digests, **images}}


def test_figures(rows: Sequence[ImageErrors]) -> dict[str, Any]:
    """The figures of a file, see `score_files`; images of the part `EMPTY` are the photos without people."""
    people = [row for row in rows if row.part != EMPTY]
    figures = summarize_parts(people)
    for part, group in group_by_part(people).items():
        by_part(figures)[part if len(group) < len(people) else ""] |= {
            "by_count": [asdict(errors) for errors in errors_by_count(group)]
        }
    if len(people) < len(rows):
        figures["empty"] = asdict(summarize_empty(rows[len(people) :]))
    return figures


def trained_empty(content: Mapping[str, Any]) -> str | None:
    """The digits that identify the photos without people that a counter was trained on; None without such."""
    recipe = content.get("recipe")
    data = recipe.get("data") if isinstance(recipe, Mapping) else None
    empty = data.get("empty") if isinstance(data, Mapping) else None
    return empty.get("content") if isinstance(empty, Mapping) else None


def show(value: float | Mapping[str, Any] | None, *, digits: int) -> str:
    """Format a value as `72.1`, a spread over seeds as `72.1 ± 0.8`, and None as `-`."""
    if isinstance(value, Mapping):
        mean = f"{value['mean']:.{digits}f}"
        return mean if value["std"] is None else f"{mean} ± {value['std']:.{digits}f}"
    return "-" if value is None else f"{value:.{digits}f}"


def print_scores(rows: Mapping[str, Mapping[str, Any]], *, title: str) -> None:
    """Print one row per checkpoint and part; values are numbers or spreads over seeds."""
    table = make_table(title, ["checkpoint", *HEADS])
    for name, metrics in rows.items():
        for part, errors in by_part(metrics).items():
            label = f"{name}, {part}" if part else name
            table.add_row(label, *(show(errors.get(key), digits=3 if key == "nae" else 1) for key in KEYS))
    print_table(table)


def print_ranges(name: str, metrics: Mapping[str, Any]) -> None:
    """Print a checkpoint's errors by the true count, of each part; those of version 0.1 have none."""
    heads = ["people in the image", "images", "MAE", "predicted - true, mean", "relative error"]
    for part, errors in by_part(metrics).items():
        if "by_count" not in errors:
            continue
        table = make_table(f"{name}{f', {part}' if part else ''}: errors by the true count", heads)
        for row in errors["by_count"]:
            found = RangeErrors(**row)
            relative = "-" if found.relative is None else f"{100 * found.relative:.0f} %"
            table.add_row(found.people, str(found.images), f"{found.mae:.1f}", f"{found.bias:+.1f}", relative)
        print_table(table)


def write_table(path: Path, rows: Sequence[ImageErrors]) -> None:
    """Write a CSV with one line per image, the largest absolute error first."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image", "annotated", "estimated", "error", *(f"game{level}" for level in GAME_LEVELS)])
    for row in sorted(rows, key=lambda one: -abs(one.error)):
        figures = (row.estimated, row.error, *row.game)
        writer.writerow([row.image, row.annotated, *(f"{value:.3f}" for value in figures)])
    write_atomic(path, text.getvalue())
