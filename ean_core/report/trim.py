"""Trimmed networks: what each attention call of a trained network is worth and costs, and what folding them saves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ean_core.report.elements import Element, Gap, Section, Table, Text
from ean_core.report.formatting import number, recorded_interval, sentence
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.utils.text import attention_label, difference_unit, how_many

KINDS = ("trim",)
OPTIMISTIC = "(on the images that chose, which is optimistic; chosen"
COMMAND = "python tools/trim.py work_dirs/quickstart_digits/share-full-seed0/classifier.pth"


def section(results: Results) -> Section:
    """Every record's conclusion, calls and path."""
    return Section(
        "trim",
        "Trimmed networks: which attention calls pay",
        results.elements(KINDS, elements_of) or [Gap("the worth of a trained network's attention calls", COMMAND)],
        "A call's mean mask, a constant scale of the channels that is folded into the layer beside it, in the place of "
        "the call: what is lost, and the time that is saved. The images that choose were not trained on.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The conclusion, the table of the calls, the way from all to none, the parts of the images, and the picture."""
    del results
    return [
        Text(sentence(conclusion(record.metrics)), title=title_of(record), records=(record.name,)),
        calls_table(record),
        path_table(record),
        *group_table(record),
        *pictures_of(record, "the metric against the time on the way from all attention calls to none"),
    ]


def conclusion(metrics: Mapping[str, Any]) -> str:
    """The record's sentence; older ones have an interval also where the images that chose are the only ones."""
    text = metrics["sentence"]
    return text if metrics["test"] else re.sub(r"\(95 %: [^;()]*; chosen", OPTIMISTIC, text)


def title_of(record: Record) -> str:
    """The network and its data: "resnet20 SE, digits"."""
    model, data = record.settings["model"], record.settings["data"]
    network = f"{model['arch']} {attention_label(model.get('attention'))}".rstrip()
    return f"{network}, {data.get('name') or record.settings['task']}"


def calls_table(record: Record) -> Table:
    """Each call alone, then all of them."""
    metrics, metric = record.metrics, record.metrics["metric"]
    rows = []
    for name, call in metrics["calls"].items():
        mean = call["mean_mask"]
        time = [recorded_interval(call["milliseconds"], 3), number(call["share"]["value"], 1)]
        loss = recorded_interval(mean["drop"], 2)
        rows.append([name, number(mean["value"]), loss, number(call["dropped"]["value"]), *time])
    together, worth = metrics["all"], metrics["all"]["worth"]
    milliseconds = sum(call["milliseconds"]["value"] for call in metrics["calls"].values())
    share = sum(call["share"]["value"] for call in metrics["calls"].values())
    masks, dropped = together["mean_masks"], together["dropped"]
    loss = recorded_interval(masks["drop"], 2)
    totals = [number(dropped["value"]), number(milliseconds, 3), number(share, 1)]
    rows.append(["all", number(masks["value"]), loss, *totals])
    unit, settings = difference_unit(metric["unit"], metric["name"]), record.settings
    note = (
        f"Validation {metric['name']} {metrics['validation']:.2f} {metric['unit']}".rstrip() + " as trained; attention "
        f"is worth {recorded_interval(worth['total'], 2)} {unit}: {recorded_interval(worth['static'], 2)} from a scale "
        f"that can be folded away and {recorded_interval(worth['dynamic'], 2)} from attention itself. With "
        f"batch norm calibrated all mean masks give {together['mean_masks_calibrated']['value']:.2f}, all dropped "
        f"{together['dropped_calibrated']['value']:.2f}. {how_many(settings['parts']['validation'], 'image')}: "
        f"{settings['parts']['note']}. Times: batch {settings['batch_size']}, mode {settings['mode']}, "
        f"{how_many(settings['threads'], 'thread')}, {settings['rounds']} rounds; {record.machine}."
    )
    heading = f"{metric['name']} {metric['unit']}".rstrip()
    heads = ("call", f"{heading} with its mean mask", f"loss, {unit}", "dropped", "ms", "share of the time, %")
    return Table(f"Each attention call of {title_of(record)}", heads, rows, (), (note,), (record.name,))


def path_table(record: Record) -> Table:
    """The calls in the order of folding."""
    metrics, metric = record.metrics, record.metrics["metric"]
    unit, rows = difference_unit(metric["unit"], metric["name"]), []
    for count, step in enumerate(metrics["path"]):
        name = f"{step['call'] or 'none'}{' (batch norm calibrated)' if step['calibrated'] else ''}"
        taken = "taken" if count == metrics["chosen"] else ""
        figures = (number(step["value"]), recorded_interval(step["drop"], 2), number(step["increment"], 1))
        rows.append([str(count), name, *figures, taken])
    heads = ("folded", "the last one", f"{metric['name']} {metric['unit']}".rstrip(), f"loss, {unit}")
    heads = (*heads, "time over none, %", "")
    return Table("Folded one after the other", heads, rows, (), (), (record.name,), left=(1, 5))


def group_table(record: Record) -> list[Table]:
    """The figures of each group of images, before and after; no table where there are no groups."""
    groups = record.metrics.get("groups") or {}  # records of version 0.1 have none
    rows = [
        [f"{part} {name}", number(value["before"]), number(value["after"])]
        for part, figures in groups.items()
        for name, value in figures.items()
    ]
    heads = ("images", "as trained", "trimmed")
    return [Table("Part by part", heads, rows, (), (), (record.name,))] if rows else []
