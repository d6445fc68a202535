"""Table 2 and the connection maps: schemes stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report.elements import GAP, Element, Map, Maps, Section, Table
from ean_core.report.formatting import number, spread
from ean_core.report.labels import label_of, labels_of
from ean_core.report.results import Results, SchemeFile
from ean_core.report.table1 import NAMES
from ean_core.scheme import Scheme
from ean_core.utils.text import attention_label


def section(results: Results) -> Section:
    """The paper's table with our schemes of the same data, then every scheme file as a map."""
    elements: list[Element] = [scheme_table(results)]
    maps = tuple(scheme_map(one) for one in sorted(results.schemes, key=lambda one: (one.published, one.name)))
    if maps:
        elements.append(Maps(maps))
    return Section(
        "table-2",
        "Table 2 and connection maps",
        elements,
        "A row of squares per stage, from the first block to the last; a filled square is a block with attention.",
    )


def scheme_table(results: Results) -> Table:
    """Schemes found on CIFAR-100, the paper's and ours, with their accuracy."""
    rows = []
    for name, found in results.paper["table2_schemes_cifar100_se_resnet164"].items():
        rows.append(["paper", label_of(name.replace("_", ":")), *cells(found["stages"]), number(found["accuracy"])])
    records = [
        one for one in results.of_kind("pipeline", "search-retrained") if one.settings["data"]["name"] == "cifar100"
    ]
    for record in records:
        who = f"ours, {record.settings['recipe']['model']['arch']}"
        for row in record.metrics:
            finders = finders_of(row)
            if finders:
                rows.append([who, finders, *cells(row["scheme"].split(" | ")), spread(row["top1"])])
    notes = ["Paper: ResNet-164, SE, CIFAR-100, test accuracy of one network each."]
    for record in records:
        images = record.settings["images"]["train"]
        notes.append(f"Ours: `{record.title}`, {images:,} training images, {record.machine}.")
    return Table(
        "Schemes found on CIFAR-100",
        ("set-up", "method", "stage 1", "stage 2", "stage 3", "connections", "test top-1, %"),
        rows,
        notes=tuple(notes),
        records=tuple(record.name for record in records),
        left=(1, 2, 3, 4),
    )


def finders_of(row: Mapping[str, Any]) -> str:
    """What found a network's scheme; empty for the networks that others are compared with."""
    if "methods" in row:
        return ", ".join(label_of(one) for one in row["methods"] if one not in ("org", "share-full"))
    return row["network"] if row["network"].startswith("EAN") else ""


def cells(stages: list[str]) -> list[str]:
    """Three stages as code, and how many of the blocks are connected."""
    bits = "".join(stages)
    return [*(f"`{stage}`" for stage in stages[:3]), *[GAP] * (3 - len(stages)), f"{bits.count('1')}/{len(bits)}"]


def scheme_map(one: SchemeFile) -> Map:
    """A scheme file with what it says of its origin."""
    content = one.content
    parts = [str(content["arch"])] if content.get("arch") else []
    parts += [attention_label(str(content["attention"]))] if content.get("attention") else []
    parts += [NAMES.get(content["data"], str(content["data"]))] if content.get("data") else []
    parts += [f"method {labels_of(content['method'])}"] if content.get("method") else []
    parts += [str(content["source"])] if content.get("source") else []
    return Map(one.name, one.scheme, note=", ".join([*parts, connected(one.scheme)]))


def connected(scheme: Scheme) -> str:
    """`4 of 9 connected`."""
    return f"{scheme.connections} of {len(scheme)} connected"
