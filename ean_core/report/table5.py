"""Table 5: mIoU, mAcc and aAcc of segmentation on Pascal VOC 2012."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ean_core.io.records import spread
from ean_core.report.elements import Element, Gap, Section, Table
from ean_core.report.formatting import counted, number, recorded_mean, seeds
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results

VOC_IMAGES = 1449
KINDS = ("segmentation", "segmentation-run")
COMMAND = "python tools/train.py segmentation/configs/ean_se_voc.py"
METRICS = ("mIoU", "mAcc", "aAcc")
LABELS = {
    "org": "Org",
    "se_share_full": "Share-full-SE",
    "se_ean": "EAN-SE",
    "dia_share_full": "Share-full-DIA",
    "dia_ean": "EAN-DIA",
}


def section(results: Results) -> Section:
    """The paper's table, a table for each set-up of ours, classes and pictures."""
    elements = [*summary(results), *(class_table(record) for record in results.of_kind("segmentation"))]
    for record in results.of_kind(*KINDS):
        elements += pictures_of(record, "image, truth and prediction side by side")
    gap = Gap("segmentation of Pascal VOC 2012", COMMAND)
    return Section("table-5", "Table 5: segmentation", [paper_table(results.paper), *(elements or [gap])])


def summary(results: Results) -> list[Element]:
    """Our networks over their seeds, a table for each set-up."""
    elements: list[Element] = [summary_table(record, results.paper) for record in results.of_kind("segmentation")]
    return elements + [run_table(group, results.paper) for group in grouped(results.of_kind("segmentation-run"))]


def elements_of(results: Results, record: Record) -> list[Element]:
    """The tables and pictures of a single record."""
    if record.kind == "segmentation":
        return [summary_table(record, results.paper), class_table(record), *pictures_of(record)]
    tables = [run_table(group, results.paper) for group in grouped([record])]
    return [*tables, class_table(record), *pictures_of(record)]


def grouped(records: Iterable[Record]) -> list[list[Record]]:
    """Runs of the same data and training, the backbone's attention and weights and the seed aside."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        settings = record.settings
        same = [settings[key] for key in ("head", "iterations", "batch_size", "crop", "optim_wrapper", "data")]
        key = json.dumps([*same, settings["backbone"].get("arch")], sort_keys=True, default=str)
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def paper_table(paper: Mapping[str, Any]) -> Table:
    """The paper's Table 5, with its time increments."""
    published = paper["table5_voc2012_val_miou_macc_aacc"]
    rows = []
    for key, label in LABELS.items():
        time = published["time_increment_percent"].get(key)
        rows.append([label, *map(number, published[key]), "0" if key == "org" else number(time)])
    heads = ("network", "mIoU, %", "mAcc, %", "aAcc, %", "time increment, %")
    return Table(
        "The paper's figures",
        heads,
        rows,
        notes=("Pascal VOC 2012 val, 1,449 images, V100; the backbone is not named, probably ResNet-50.",),
    )


HEADS = ("backbone and its start", "seeds", *(f"{key}, %" for key in METRICS), "parameters", *METRICS)
GROUPS = (("", 6), ("paper", 3))


def paper_cells(network: str, paper: Mapping[str, Any]) -> list[str]:
    """mIoU, mAcc and aAcc that Table 5 gives for a network."""
    published = {LABELS[key]: row for key, row in paper["table5_voc2012_val_miou_macc_aacc"].items() if key in LABELS}
    return [number(value) for value in published.get(network, (None,) * 3)]


def summary_table(record: Record, paper: Mapping[str, Any]) -> Table:
    """Networks over their seeds, with and without a pretrained backbone, beside the paper's row."""
    rows = []
    for row in record.metrics:
        figures = [recorded_mean(row[key]) for key in METRICS]
        name = with_start(row["network"], row["pretrained"])
        published = paper_cells(row["network"], paper) if of_voc(record) else ()
        rows.append([name, str(len(row["seeds"])), *figures, counted(row["parameters"]), *published])
    notes = setup_notes(record, seeds_of=max(len(row["seeds"]) for row in record.metrics))
    title = f"Segmentation, {record.settings['title']}"
    return Table(title, *columns(record, rows), notes, (record.name,))


def run_table(group: Sequence[Record], paper: Mapping[str, Any]) -> Table:
    """Single runs brought together by network and start, beside the paper's row."""
    named: dict[tuple[str, bool], list[Record]] = {}
    for record in group:
        named.setdefault((record.metrics["network"], bool(record.settings["weights"])), []).append(record)
    rows = []
    for (label, pretrained), records in named.items():
        figures = [recorded_mean(spread([record.metrics["last"][key] for record in records])) for key in METRICS]
        count = counted(records[0].metrics["parameters"])
        published = paper_cells(label, paper) if of_voc(group[0]) else ()
        rows.append([with_start(label, pretrained), str(len(records)), *figures, count, *published])
    notes = setup_notes(group[0], seeds_of=max(map(len, named.values())))
    title = f"Segmentation, {group[0].settings['title']}"
    return Table(title, *columns(group[0], rows), notes, tuple(record.name for record in group))


def with_start(network: str, pretrained: bool) -> str:
    """A network and how its backbone started, as "EAN-SE, pretrained"."""
    return f"{network}, {'pretrained' if pretrained else 'random'}"


def of_voc(record: Record) -> bool:
    """Whether a run's figures are of VOC 2012's validation images and classes, and so stand beside the paper's."""
    data = record.settings["data"]
    return data["val"]["images"] == VOC_IMAGES and not data["val"].get("only")


def columns(record: Record, rows: list[list[str]]) -> tuple[Sequence[str], list[list[str]], Sequence[tuple[str, int]]]:
    """Heads, rows and groups of heads, with the paper's columns only where they are of the same images."""
    return (HEADS, rows, GROUPS) if of_voc(record) else (HEADS[:6], rows, ())


def setup_notes(record: Record, *, seeds_of: int) -> tuple[str, ...]:
    """The notes of a table: data, training and machine, and how far they are from the paper's."""
    settings = record.settings
    data, arch = settings["data"], settings.get("arch") or settings.get("backbone", {}).get("arch")
    note = (
        f"Ours: {arch}, {settings['head']}, {data['train']['images']:,} training and {data['val']['images']:,} "
        f"validation images, {settings['iterations']:,} iterations of {settings['batch_size']} crops, weights after "
        f"the last one; {seeds(seeds_of)}; {record.machine}."
    )
    said = str(settings["note"]).rstrip(".") + "." if settings.get("note") else ""
    theirs_are = (
        "Paper: VOC 2012, probably ResNet-50: another set-up, so compare rows, not columns."
        if of_voc(record)
        else "Not a VOC 2012 result: the paper has no figures of these images."
    )
    return tuple(filter(None, (note, said, theirs_are)))


def class_table(record: Record) -> Table:
    """IoU of each class, a column for each network."""
    if record.kind == "segmentation":
        columns = {with_start(row["network"], row["pretrained"]): row["classes"] for row in record.metrics}
    else:
        columns = {record.metrics["network"]: record.metrics["last"]["classes"]}
    names = dict.fromkeys(row["class"] for rows in columns.values() for row in rows)
    iou = {column: {row["class"]: row["IoU"] for row in rows} for column, rows in columns.items()}
    rows = [[str(name), *(recorded_mean(iou[column].get(name)) for column in columns)] for name in names]
    note = f"IoU in percent. {record.machine}."
    return Table(f"Classes, {record.settings['title']}", ("class", *columns), rows, (), (note,), (record.name,))
