"""Table 2 and the connection maps: schemes stage by stage."""

from __future__ import annotations

from ean_core.report.colors import NETWORK_COLORS
from ean_core.report.elements import GAP, Element, Map, Maps, Section, Table
from ean_core.report.formatting import mean, number
from ean_core.report.labels import label_of, labels_of
from ean_core.report.results import Results, SchemeFile
from ean_core.report.titles import DATA
from ean_core.report.typed_rows import RunSettings, TrainedRow, trained_rows
from ean_core.scheme import Scheme
from ean_core.utils.text import attention_label


def section(results: Results) -> Section:
    """The paper's schemes beside ours of the same data, then every scheme file as a map."""
    elements: list[Element] = [scheme_table(results)]
    ours_first = sorted(results.schemes, key=lambda file: (file.published, file.name))
    if ours_first:
        elements.append(Maps(tuple(map(scheme_map, ours_first))))
    return Section(
        "table-2",
        "Table 2 and connection maps",
        elements,
        "A row of squares per stage, from the first block to the last; a filled square is a block with attention.",
    )


def scheme_table(results: Results) -> Table:
    """Schemes found on CIFAR-100, the paper's and ours, with their accuracy."""
    rows = []
    for name, scheme in results.paper["table2_schemes_cifar100_se_resnet164"].items():
        method = label_of(name.replace("_", ":"))
        rows.append(["paper", method, *stage_cells(scheme["stages"]), number(scheme["accuracy"])])
    records = [
        record
        for record in results.of_kind("pipeline", "search-retrained")
        if record.settings["data"]["name"] == "cifar100"
    ]
    for record in records:
        who = f"ours, {RunSettings.of(record).arch}"
        for row in trained_rows(record):
            if finders := finders_of(row):
                rows.append([who, finders, *stage_cells(row.scheme.split(" | ")), mean(row.top1)])
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


def finders_of(row: TrainedRow) -> str:
    """Which methods found a network's scheme; "" for the networks that others are compared with."""
    if row.methods:
        return ", ".join(label_of(method) for method in row.methods if method not in NETWORK_COLORS)
    return row.network if row.network.startswith("EAN") else ""


def stage_cells(stages: list[str]) -> list[str]:
    """The bits of three stages, and how many of all blocks are connected."""
    bits = "".join(stages)
    return [*(f"`{stage}`" for stage in stages[:3]), *[GAP] * (3 - len(stages)), f"{bits.count('1')}/{len(bits)}"]


def scheme_map(file: SchemeFile) -> Map:
    """A scheme file as a map, with its origin below."""
    content = file.content
    parts = [str(content["arch"])] if content.get("arch") else []
    parts += [attention_label(str(content["attention"]))] if content.get("attention") else []
    parts += [DATA.get(content["data"], str(content["data"]))] if content.get("data") else []
    parts += [f"method {labels_of(content['method'])}"] if content.get("method") else []
    parts += [str(content["source"])] if content.get("source") else []
    return Map(file.name, file.scheme, note=", ".join([*parts, connections_text(file.scheme)]))


def connections_text(scheme: Scheme) -> str:
    """How many blocks have attention, as "4 of 9 connected"."""
    return f"{scheme.connections} of {len(scheme)} connected"
