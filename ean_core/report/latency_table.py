"""What each connection costs in time on a device, and how well the table predicts whole networks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from statistics import fmean
from typing import Any

from ean_core.report.elements import GAP, Element, Table
from ean_core.report.formatting import number, recorded_interval
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.titles import network_title
from ean_core.utils.text import how_many

KINDS = ("latency",)
COMMAND = "python tools/benchmark.py --arch resnet50 --attention se --per-block"


def elements_of(results: Results, record: Record) -> list[Element]:
    """A latency table's times by stage, its check, and its chart."""
    del results
    return [stage_table(record), *check_tables(record), *pictures_of(record)]


def stage_table(record: Record) -> Table:
    """What a connection adds to the time, stage by stage."""
    table = record.metrics
    percent = [increment["value"] for increment in table["increments"]]
    rows = []
    for stage, (count, end) in enumerate(zip(table["blocks"], accumulate(table["blocks"]), strict=True), 1):
        in_stage = percent[end - count : end]
        figures = (fmean(in_stage), min(in_stage), max(in_stage))
        rows.append([f"stage {stage}", str(count), *map(number, figures)])
    rows.append(["all connected", str(len(percent)), number(sum(percent)), GAP, GAP])
    note = (
        f"Percent of Org's time ({1e3 * table['org']['value']:.1f} ms); batch {table['batch_size']}, "
        f"{table['image_size']} pixels, {table['setting']}, {how_many(table['threads'], 'thread')}, "
        f"{table['rounds']} rounds; {record.machine}."
    )
    return Table(
        f"Time of each connection alone, {network_title(table['arch'], table['attention'])}",
        ("stage", "blocks", "mean, %", "least, %", "most, %"),
        rows,
        (),
        (note,),
        (record.name,),
    )


def check_tables(record: Record) -> list[Element]:
    """The table's predictions beside measured whole networks; nothing if they were not checked."""
    check: Mapping[str, Any] = record.metrics.get("check") or {}
    if not check:
        return []
    rows = [
        [
            f"`{scheme['bits']}`",
            str(scheme["connections"]),
            number(scheme["predicted"]),
            recorded_interval(scheme["measured"], 2),
            number(scheme["error"]),
        ]
        for scheme in check["schemes"]
    ]
    errors = [scheme["error"] for scheme in check["schemes"]]
    within = sum(
        scheme["measured"]["low"] <= scheme["predicted"] <= scheme["measured"]["high"] for scheme in check["schemes"]
    )
    note = (
        "Time increments in percent of Org's, measured with 95 % intervals; the error, predicted minus measured, is "
        f"{fmean(errors):+.2f} points on average and {check['max']:.2f} at most; {within} of {len(errors)} predictions "
        f"lie in their interval. {record.machine}."
    )
    heads = ("scheme", "connections", "predicted, %", "measured, %", "error, points")
    return [Table("Predicted and measured whole networks", heads, rows, (), (note,), (record.name,))]
