"""Table 5: segmentation of Pascal VOC 2012."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ean_core.io.records import spread as over
from ean_core.report.blocks import Block, Gap, Section, Table
from ean_core.report.book import Book, Entry
from ean_core.report.cells import counted, number, seeds, spread
from ean_core.report.pictures import pictures_of

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


def section(book: Book) -> Section:
    """The paper's table, a table for each set-up of ours, classes and pictures."""
    found = [*summary(book), *(class_table(entry) for entry in book.of("segmentation"))]
    for entry in book.of(*KINDS):
        found += pictures_of(entry, "image, truth and prediction side by side")
    gap = Gap("segmentation of Pascal VOC 2012", COMMAND)
    return Section("table-5", "Table 5: segmentation", [paper_table(book.paper), *(found or [gap])])


def summary(book: Book) -> list[Block]:
    """The tables of our runs."""
    found: list[Block] = [summary_table(entry, book.paper) for entry in book.of("segmentation")]
    return found + [run_table(group, book.paper) for group in grouped(book.of("segmentation-run"))]


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """A record on its own."""
    if entry.kind == "segmentation":
        return [summary_table(entry, book.paper), class_table(entry), *pictures_of(entry)]
    tables = [run_table(group, book.paper) for group in grouped([entry])]
    return [*tables, class_table(entry), *pictures_of(entry)]


def grouped(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Runs of the same data and training, the backbone's attention and weights and the seed aside."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        settings = entry.settings
        same = [settings[key] for key in ("head", "iterations", "batch_size", "crop", "optim_wrapper", "data")]
        key = json.dumps([*same, settings["backbone"].get("arch")], sort_keys=True, default=str)
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def paper_table(paper: Mapping[str, Any]) -> Table:
    """Table 5 as published."""
    published = paper["table5_voc2012_val_miou_macc_aacc"]
    rows = []
    for key, label in LABELS.items():
        time = published["time_increment_percent"].get(key)
        rows.append([label, *(number(one) for one in published[key]), "0" if key == "org" else number(time)])
    heads = ("network", "mIoU, %", "mAcc, %", "aAcc, %", "time increment, %")
    return Table(
        "The paper's figures",
        heads,
        rows,
        notes=("Pascal VOC 2012 val, 1,449 images, V100; the backbone is not named, probably ResNet-50.",),
    )


HEADS = ("backbone and its start", "seeds", *(f"{key}, %" for key in METRICS), "parameters", *METRICS)
GROUPS = (("", 6), ("paper", 3))


def theirs(network: str, paper: Mapping[str, Any]) -> list[str]:
    """mIoU, mAcc and aAcc that Table 5 gives for a network."""
    published = {LABELS[key]: row for key, row in paper["table5_voc2012_val_miou_macc_aacc"].items() if key in LABELS}
    return [number(one) for one in published.get(network, (None,) * 3)]


def summary_table(entry: Entry, paper: Mapping[str, Any]) -> Table:
    """Networks over their seeds, with and without a pretrained backbone, beside the paper's row."""
    rows = []
    for row in entry.metrics:
        figures = [spread(row[key]) for key in METRICS]
        name = with_start(row["network"], row["pretrained"])
        published = theirs(row["network"], paper) if of_voc(entry) else ()
        rows.append([name, str(len(row["seeds"])), *figures, counted(row["parameters"]), *published])
    notes = setup(entry, seeds_of=max(len(row["seeds"]) for row in entry.metrics))
    title = f"Segmentation, {entry.settings['title']}"
    return Table(title, *columns(entry, rows), notes, (entry.name,))


def run_table(group: Sequence[Entry], paper: Mapping[str, Any]) -> Table:
    """Single runs brought together by network and start, beside the paper's row."""
    named: dict[tuple[str, bool], list[Entry]] = {}
    for entry in group:
        named.setdefault((entry.metrics["network"], bool(entry.settings["weights"])), []).append(entry)
    rows = []
    for (label, pretrained), entries in named.items():
        figures = [spread(over([one.metrics["last"][key] for one in entries])) for key in METRICS]
        count = counted(entries[0].metrics["parameters"])
        published = theirs(label, paper) if of_voc(group[0]) else ()
        rows.append([with_start(label, pretrained), str(len(entries)), *figures, count, *published])
    notes = setup(group[0], seeds_of=max(map(len, named.values())))
    title = f"Segmentation, {group[0].settings['title']}"
    return Table(title, *columns(group[0], rows), notes, tuple(entry.name for entry in group))


def with_start(network: str, pretrained: bool) -> str:
    """`EAN-SE, pretrained`."""
    return f"{network}, {'pretrained' if pretrained else 'random'}"


def of_voc(entry: Entry) -> bool:
    """Whether a run's figures are of VOC 2012's validation images and classes, and so stand beside the paper's."""
    data = entry.settings["data"]
    return data["val"]["images"] == VOC_IMAGES and not data["val"].get("only")


def columns(entry: Entry, rows: list[list[str]]) -> tuple[Sequence[str], list[list[str]], Sequence[tuple[str, int]]]:
    """Heads, rows and groups of heads, with the paper's columns only where they are of the same images."""
    return (HEADS, rows, GROUPS) if of_voc(entry) else (HEADS[:6], rows, ())


def setup(entry: Entry, *, seeds_of: int) -> tuple[str, ...]:
    """Data, training and machine."""
    settings = entry.settings
    data, arch = settings["data"], settings.get("arch") or settings.get("backbone", {}).get("arch")
    note = (
        f"Ours: {arch}, {settings['head']}, {data['train']['images']:,} training and {data['val']['images']:,} "
        f"validation images, {settings['iterations']:,} iterations of {settings['batch_size']} crops, weights after "
        f"the last one; {seeds(seeds_of)}; {entry.machine}."
    )
    said = str(settings["note"]).rstrip(".") + "." if settings.get("note") else ""
    theirs_are = (
        "Paper: VOC 2012, probably ResNet-50: another set-up, so compare rows, not columns."
        if of_voc(entry)
        else "Not a VOC 2012 result: the paper has no figures of these images."
    )
    return tuple(filter(None, (note, said, theirs_are)))


def class_table(entry: Entry) -> Table:
    """IoU of each class, a column for each network."""
    if entry.kind == "segmentation":
        columns = {with_start(row["network"], row["pretrained"]): row["classes"] for row in entry.metrics}
    else:
        columns = {entry.metrics["network"]: entry.metrics["last"]["classes"]}
    names = dict.fromkeys(row["class"] for rows in columns.values() for row in rows)
    found = {name: {row["class"]: row["IoU"] for row in rows} for name, rows in columns.items()}
    rows = [[str(name), *(spread(found[column].get(name)) for column in columns)] for name in names]
    note = f"IoU in percent. {entry.machine}."
    return Table(f"Classes, {entry.settings['title']}", ("class", *columns), rows, (), (note,), (entry.name,))
