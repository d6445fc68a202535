"""Bring runs with several seeds together: mean and deviation of mIoU, mAcc, aAcc and of every class, in one record."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ean_core.cli import file_of
from ean_core.io.typed import Count, Range, checked

HELP = """\
example:
  python segmentation/summary.py work_dirs/seg/* --output results/voc_person_subset.json

Takes the result.json of every directory; runs that differ in more than network, start and seed are refused. Prints the
table and writes it as a record, and beside it, as .predictions.jpg, pictures of the first directory's last validation.
"""

MOST = 3  # pictures
SAME = ("title", "head", "iterations", "batch_size", "optim_wrapper", "crop", "processes")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s DIR.. --output JSON")
    parser.add_argument("directories", nargs="+", metavar="DIR", help="work directories of tools/train.py")
    parser.add_argument("--output", required=True, type=file_of(".json"), metavar="JSON", help="where the record goes")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Read, compare, write."""
    from ean_core.io.records import write_record

    records = [read_run(Path(one)) for one in arguments.directories]
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
    """A class of a record; None where it has no pixels."""

    IoU: Percent | None = None


@dataclass(frozen=True)
class Scores:
    """The scores of one validation."""

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
    """Which images a part of the data is."""

    fingerprint: str
    images: Count


@dataclass(frozen=True)
class SegmentationSettings:
    """The settings of a segmentation run's result.json, as far as runs are compared by them."""

    title: str
    seed: Count
    backbone: Mapping[str, Any]
    data: Mapping[str, DataPart]
    weights: str | None
    weights_sha256: str | None


def read_run(directory: Path) -> dict[str, Any]:
    """A directory's record.

    Raises:
        EANError: if there is none, or one of another kind.
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
    """What all runs share, for the record.

    Raises:
        EANError: naming the first setting in which two runs differ.
    """
    from ean_core.utils.errors import EANError

    first = records[0]
    for other in records[1:]:
        pairs = [(name, first["settings"].get(name), other["settings"].get(name)) for name in SAME]
        pairs += [("data." + part, fingerprint(first, part), fingerprint(other, part)) for part in ("train", "val")]
        pairs += [("arch", first["settings"]["backbone"].get("arch"), other["settings"]["backbone"].get("arch"))]
        for name, one, two in pairs:
            if one != two:
                raise EANError(
                    f"{first['directory']} and {other['directory']} differ in {name} ({one} and {two}): only runs of "
                    "one recipe are compared"
                )
    shared = {name: first["settings"][name] for name in (*SAME, "note", "data")}
    return {**shared, "arch": first["settings"]["backbone"].get("arch"), "runs": [describe(one) for one in records]}


def describe(record: dict[str, Any]) -> dict[str, Any]:
    """Where one run came from."""
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
    """Of a run's training or validation pairs."""
    return record["settings"]["data"][part]["fingerprint"]


def summarize_runs(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per network and start: mean, deviation and values over the seeds, of the last weights.

    Raises:
        EANError: if a seed is there twice for a row.
    """
    from ean_core.io.records import spread
    from ean_core.utils.errors import EANError

    groups: dict[tuple[bool, str], list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda one: one["settings"]["seed"]):
        key = (record["settings"]["weights"] is not None, record["metrics"]["network"])
        groups.setdefault(key, []).append(record)
    rows = []
    order = ("Org", "Org-full", "Share-full", "EAN")
    for (pretrained, network), runs in sorted(
        groups.items(), key=lambda item: (not item[0][0], order.index(item[0][1].rpartition("-")[0] or "Org"))
    ):
        seeds = [one["settings"]["seed"] for one in runs]
        if len(set(seeds)) < len(seeds):
            twice = [one["directory"] for one in runs]
            raise EANError(f"{network} has the same seed twice in {', '.join(twice)}: give each run once")
        last = [one["metrics"]["last"] for one in runs]
        rows.append(
            {
                "network": network,
                "pretrained": pretrained,
                "seeds": seeds,
                **{name: spread([one[name] for one in last]) for name in ("mIoU", "mAcc", "aAcc")},
                "classes": class_spreads(last),
                "best_of_validations": spread([one["metrics"]["best_of_validations"]["mIoU"] for one in runs]),
                "images": last[0]["images"],
                "parameters": runs[0]["metrics"]["parameters"],
                "backbone_parameters": runs[0]["metrics"]["backbone_parameters"],
            }
        )
    return rows


def class_spreads(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """IoU of every class over the seeds, None where a seed has none."""
    from ean_core.io.records import spread

    found = []
    for rows in zip(*(table["classes"] for table in tables), strict=True):
        known = all(row["IoU"] is not None for row in rows)
        found.append({"class": rows[0]["class"], "IoU": spread([row["IoU"] for row in rows]) if known else None})
    return found


def stack_pictures(directory: Path, iterations: int, output: Path) -> Path | None:
    """The pictures of a run's last validation under each other, as a JPEG beside the record; None if it drew none."""
    from PIL import Image

    from ean_core.data.read_image import read_image
    from ean_core.utils.files import atomic_path

    drawn = [read_image(file) for file in sorted((directory / "pictures").glob(f"*_{iterations:06d}.png"))[:MOST]]
    if not drawn:
        return None
    sheet = Image.new("RGB", (max(one.width for one in drawn), sum(one.height for one in drawn)), "white")
    top = 0
    for one in drawn:
        sheet.paste(one, (0, top))
        top += one.height
    path = output.with_suffix(".predictions.jpg")
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="JPEG", quality=85)
    return path


def print_rows(rows: list[dict[str, Any]], *, title: str) -> None:
    """The rows on the screen."""
    from rich.table import Table

    from ean_core.utils.progress import console

    table = Table(title=title)
    for name in ("network", "pretrained backbone", "mIoU, %", "mAcc, %", "aAcc, %", "seeds", "parameters"):
        table.add_column(name, justify="left" if name == "network" else "right")
    for row in rows:
        cells = [with_spread(row[name]) for name in ("mIoU", "mAcc", "aAcc")]
        start = "yes" if row["pretrained"] else "no"
        table.add_row(row["network"], start, *cells, str(len(row["seeds"])), f"{row['parameters']:,}")
    console().print(table)


def with_spread(value: dict[str, Any]) -> str:
    """Mean and standard deviation."""
    return f"{value['mean']:.2f}" + ("" if value["std"] is None else f" ± {value['std']:.2f}")


if __name__ == "__main__":
    parsed = parse_arguments()  # first, for --help's sake
    from ean_core.utils.errors import command

    command(partial(run, parsed))()
