"""Time as an objective: what each connection costs on a device, and the Pareto front of accuracy against cost."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from statistics import fmean
from typing import Any

from ean_core.report.blocks import GAP, Block, Gap, Section, Table
from ean_core.report.book import Book, Entry
from ean_core.report.cells import interval, number
from ean_core.report.labels import labels_of
from ean_core.report.pictures import pictures_of
from ean_core.report.table1 import NAMES
from ean_core.utils.text import attention_label, how_many

KINDS = ("latency", "pareto")
COMMANDS = {
    "pareto": ("the Pareto front of a search", "python tools/pareto.py work_dirs/NAME"),
    "latency": ("the time of each connection", "python tools/benchmark.py --arch resnet50 --attention se --per-block"),
}


def section(book: Book) -> Section:
    """The fronts, then the tables of times."""
    blocks: list[Block] = []
    for kind, (what, command) in COMMANDS.items():
        blocks += book.blocks((kind,), blocks_of) or [Gap(what, command)]
    return Section(
        "pareto",
        "Pareto front: accuracy against cost",
        blocks,
        "The schemes that a search scored and that no other one beats in both, by validation accuracy on the supernet. "
        "The best of many noisy scores look better than they are.",
    )


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """A file's table and picture."""
    del book
    if entry.kind == "latency":
        return [times_table(entry), *checked(entry), *pictures_of(entry)]
    return [front_table(entry), *pictures_of(entry, "every scored scheme, and the front")]


def front_table(entry: Entry) -> Table:
    """The points of a front, the cheapest first."""
    front = entry.metrics
    timed = front["cost"] != "connections"  # else the cost has a column anyway
    rows = []
    for one in front["points"]:
        cost = [number(one["cost"])] if timed else []
        rows.append([str(one["number"]), number(one["accuracy"]), *cost, str(one["connections"]), f"`{one['bits']}`"])
    origin = front["origin"]
    data, method = origin.get("data") or "", labels_of(origin.get("method") or "")
    origin = {**origin, "method": method, "data": NAMES.get(data, data)}
    origin["attention"] = attention_label(origin.get("attention"))
    words = [str(origin[key]) for key in ("arch", "attention", "data", "method", "recipe") if origin.get(key)]
    note = (
        f"{len(rows)} of {front['scored']} scored schemes; {', '.join(words)}. "
        f"`python tools/pareto.py WORK_DIR --take N` makes point N the scheme."
    )
    heads = ("point", "validation accuracy, %", *([front["unit"]] if timed else []), "connections", "scheme")
    return Table(f"Front of {entry.title}", heads, rows, (), (note,), (entry.name,), left=(len(heads) - 1,))


def times_table(entry: Entry) -> Table:
    """What a connection adds to the time, stage by stage."""
    table = entry.metrics
    values = [one["value"] for one in table["increments"]]
    ends = list(accumulate(table["blocks"]))
    rows = []
    for stage, (count, end) in enumerate(zip(table["blocks"], ends, strict=True), 1):
        mine = values[end - count : end]
        rows.append([f"stage {stage}", str(count), number(fmean(mine)), number(min(mine)), number(max(mine))])
    rows.append(["all connected", str(len(values)), number(sum(values)), GAP, GAP])
    note = (
        f"Percent of Org's time ({1e3 * table['org']['value']:.1f} ms); batch {table['batch_size']}, "
        f"{table['image_size']} pixels, {table['setting']}, {how_many(table['threads'], 'thread')}, "
        f"{table['rounds']} rounds; {entry.machine}."
    )
    return Table(
        f"Time of each connection alone, {table['arch']} {attention_label(table['attention'])}",
        ("stage", "blocks", "mean, %", "least, %", "most, %"),
        rows,
        (),
        (note,),
        (entry.name,),
    )


def checked(entry: Entry) -> list[Block]:
    """The table's prediction against measured whole networks."""
    check: Mapping[str, Any] = entry.metrics.get("check") or {}
    if not check:
        return []
    rows = [
        [
            f"`{one['bits']}`",
            str(one["connections"]),
            number(one["predicted"]),
            interval(one["measured"], 2),
            number(one["error"]),
        ]
        for one in check["schemes"]
    ]
    note = (
        "Time increments in percent of Org's, measured with 95 % intervals; the error, predicted minus measured, is "
        f"{check['mean_absolute']:.2f} points on average and {check['max']:.2f} at most. {entry.machine}."
    )
    heads = ("scheme", "connections", "predicted, %", "measured, %", "error, points")
    return [Table("Predicted and measured whole networks", heads, rows, (), (note,), (entry.name,))]
