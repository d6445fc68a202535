"""Summarize runs over several seeds in one record: mean and standard deviation of mIoU, mAcc, aAcc and class IoUs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ean_core.cli import file_of
from ean_core.utils.checked_dataclasses import Count, Range, checked

HELP = """\
example:
  python segmentation/summary.py work_dirs/seg/* --output results/voc_person_subset.json

Reads the result.json of every directory; runs may differ only in network, initial weights and seed. Prints a table and
writes it as a record, with pictures of the first directory's last validation next to it as .predictions.jpg.
"""

MAX_PICTURES = 3
SHARED_SETTINGS = ("title", "head", "iterations", "batch_size", "optim_wrapper", "crop", "processes")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s DIR.. --output JSON")
    parser.add_argument("directories", nargs="+", metavar="DIR", help="work directories of tools/train.py")
    parser.add_argument("--output", required=True, type=file_of(".json"), metavar="JSON", help="path of the record")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Read and compare the runs, print the table and write the record."""
    from ean_core.io.records import write_record

    records = [read_run(Path(directory)) for directory in arguments.directories]
    rows = summarize_runs(records)
    settings = common_settings(records)
    write_record(arguments.output, kind="segmentation", settings=settings, metrics=rows)
    print_rows(rows, title=f"{settings['title']}: {settings['data']['val']['images']} validation images")
    print(f"record: {arguments.output}")
    if sheet := stack_pictures(Path(arguments.directories[0]), settings["iterations"], arguments.output):
        print(f"pictures: {sheet}")


Percent = Annotated[float, Range(0, 100)]


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
    """Fingerprint and size of the training or validation list."""

    fingerprint: str
    images: Count


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
    from ean_core.io.records import read_record
    from ean_core.utils.errors import EANError

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
    from ean_core.utils.errors import EANError

    first = records[0]
    for other in records[1:]:
        pairs = [(name, first["settings"].get(name), other["settings"].get(name)) for name in SHARED_SETTINGS]
        pairs += [("data." + part, fingerprint(first, part), fingerprint(other, part)) for part in ("train", "val")]
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


def summarize_runs(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per network and kind of initial weights: mean, standard deviation and values over the seeds.

    Raises:
        EANError: if a row has the same seed twice.
    """
    from ean_core.io.records import spread
    from ean_core.utils.errors import EANError

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
    from ean_core.io.records import spread

    spreads = []
    for rows in zip(*(table["classes"] for table in tables), strict=True):
        complete = all(row["IoU"] is not None for row in rows)
        spreads.append({"class": rows[0]["class"], "IoU": spread([row["IoU"] for row in rows]) if complete else None})
    return spreads


def stack_pictures(directory: Path, iterations: int, output: Path) -> Path | None:
    """Stack pictures of a run's last validation in a JPEG next to the record; None if there are none."""
    from PIL import Image

    from ean_core.data.read_image import read_image
    from ean_core.utils.files import atomic_path

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
    from rich.table import Table

    from ean_core.utils.progress import console

    table = Table(title=title)
    for name in ("network", "pretrained backbone", "mIoU, %", "mAcc, %", "aAcc, %", "seeds", "parameters"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for row in rows:
        cells = [mean_and_std(row[name]) for name in ("mIoU", "mAcc", "aAcc")]
        start = "yes" if row["pretrained"] else "no"
        table.add_row(row["network"], start, *cells, str(len(row["seeds"])), f"{row['parameters']:,}")
    console().print(table)


def mean_and_std(value: dict[str, Any]) -> str:
    """Format a spread as mean ± standard deviation."""
    return f"{value['mean']:.2f}" + ("" if value["std"] is None else f" ± {value['std']:.2f}")


if __name__ == "__main__":
    parsed = parse_arguments()  # before the heavy imports, so that --help is instant
    from ean_core.utils.errors import command

    command(partial(run, parsed))()
