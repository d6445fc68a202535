"""Runs over several seeds in one table: mean and standard deviation of mIoU, mAcc, aAcc and class IoUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from ean_core.data.read_image import read_image
from ean_core.io.records import spread
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_path
from ean_core.utils.screen import make_table, print_table

MAX_PICTURES = 3


def summarize_runs(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per network and kind of initial weights: mean, standard deviation and values over the seeds.

    Raises:
        EANError: if a row has the same seed twice.
    """
    groups: dict[tuple[bool, str], list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda run: run["settings"]["seed"]):
        key = (record["settings"]["weights"] is not None, record["metrics"]["network"])
        groups.setdefault(key, []).append(record)
    rows = []
    order = ("Org", "Org-full", "Share-full", "EAN")
    for (pretrained, network), runs in sorted(
        groups.items(), key=lambda item: (not item[0][0], order.index(item[0][1].rpartition("-")[0] or "Org"))
    ):
        seeds = [run["settings"]["seed"] for run in runs]
        if len(set(seeds)) < len(seeds):
            twice = [run["directory"] for run in runs]
            raise EANError(f"{network} has the same seed twice in {', '.join(twice)}: give each run once")
        last = [run["metrics"]["last"] for run in runs]
        rows.append(
            {
                "network": network,
                "pretrained": pretrained,
                "seeds": seeds,
                **{name: spread([run[name] for run in last]) for name in ("mIoU", "mAcc", "aAcc")},
                "classes": class_spreads(last),
                "best_of_validations": spread([run["metrics"]["best_of_validations"]["mIoU"] for run in runs]),
                "images": last[0]["images"],
                "parameters": runs[0]["metrics"]["parameters"],
                "backbone_parameters": runs[0]["metrics"]["backbone_parameters"],
            }
        )
    return rows


def class_spreads(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """IoU of every class over the seeds; None if a seed has none."""
    spreads = []
    for rows in zip(*(table["classes"] for table in tables), strict=True):
        complete = all(row["IoU"] is not None for row in rows)
        spreads.append({"class": rows[0]["class"], "IoU": spread([row["IoU"] for row in rows]) if complete else None})
    return spreads


def stack_pictures(directory: Path, iterations: int, output: Path) -> Path | None:
    """Stack pictures of a run's last validation in a JPEG next to the record; None if there are none."""
    images = [
        read_image(file) for file in sorted((directory / "pictures").glob(f"*_{iterations:06d}.png"))[:MAX_PICTURES]
    ]
    if not images:
        return None
    sheet = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)), "white")
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    path = output.with_suffix(".predictions.jpg")
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="JPEG", quality=85)
    return path


def print_rows(rows: list[dict[str, Any]], *, title: str) -> None:
    """Print the rows as a table."""
    heads = ["network", "pretrained backbone", "mIoU %", "mAcc %", "aAcc %", "seeds", "parameters"]
    table = make_table(title, heads)
    for row in rows:
        cells = [mean_and_std(row[name]) for name in ("mIoU", "mAcc", "aAcc")]
        start = "yes" if row["pretrained"] else "no"
        table.add_row(row["network"], start, *cells, str(len(row["seeds"])), f"{row['parameters']:,}")
    print_table(table)


def mean_and_std(value: dict[str, Any]) -> str:
    """Format a spread as mean ± standard deviation."""
    return f"{value['mean']:.2f}" + ("" if value["std"] is None else f" ± {value['std']:.2f}")
