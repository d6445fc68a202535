"""Run folders: what a work directory holds, shown with the same tables as the records under results/."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from functools import partial
from inspect import unwrap
from pathlib import Path
from typing import Any

from ean_core.io.scheme_record import read_scheme_file
from ean_core.report import fallback_table
from ean_core.report.elements import GAP, Element, Map, Maps, Picture, Section, Table, Verdict
from ean_core.report.formatting import counted, number
from ean_core.report.labels import labels_of
from ean_core.report.results import (
    PICTURES,
    Record,
    Results,
    assign_pictures,
    is_record_file,
    naming_record,
    read_file,
    visible,
)
from ean_core.report.table2 import connections_text
from ean_core.report.titles import DATA, network_title, record_title, words_of
from ean_core.report.training_curves import loss_elements
from ean_core.report.verdicts import verdicts
from ean_core.scheme import Scheme
from ean_core.search.history import HistoryLine, read_lines
from ean_core.utils.errors import EANError

MAX_FILES = 40
"""Records, and pictures, that are shown of one folder."""


def section(folder: Path, results: Results, kinds: Mapping[str, Any], *, number: int) -> tuple[Section, list[Record]]:
    """A folder's section, and its records.

    Args:
        folder: a work directory.
        results: for the paper's figures.
        kinds: kind -> what turns a record of it into elements.
        number: makes the section's key different from others'.

    Raises:
        EANError: if there is no such folder, or nothing in it can be shown.
    """
    if not folder.is_dir():
        raise EANError(f"run folder {folder} does not exist: give a directory that a command wrote, as work_dirs/NAME")
    records = find_records(folder)
    elements: list[Element] = []
    if sentences := [text for record in records for text in verdicts(record)]:
        elements.append(Verdict(tuple(dict.fromkeys(sentences))))
        records = [without_comparisons(record) for record in records]  # which the tables would say again
    trained = [record for record in records if record.kind == "train"]
    if trained:
        for record in trained:
            with naming_record(record):
                trained_table([record])
        elements.append(trained_table(trained))
    for record in records:
        if record.kind in kinds:
            with naming_record(record):
                elements += kinds[record.kind](results, record)
        elif record.kind != "train":
            elements += fallback_table.elements_of(results, record)
    elements += [*search_elements(folder), *loss_elements(folder)]
    drawn = {element.source for element in elements if isinstance(element, Picture)}
    elements += [
        Picture(words_of(path.stem), f"picture {path.name} of the run {folder.resolve().name}", path)
        for path in find_pictures(folder)
        if path not in drawn and path.name != "search.png"
    ]
    if not elements:
        raise EANError(
            f"run folder {folder} holds nothing to show (no history.jsonl, scheme.json, summary.json or result.json): "
            "give a directory that a command wrote, as work_dirs/NAME"
        )
    title = next((record_title(record) for record in records if record.kind == "pipeline"), "")
    title = title or words_of(folder.resolve().name)
    return Section(f"run-{number}", f"{title[:1].upper()}{title[1:]}", elements, f"Your run in `{folder}`."), records


def without_comparisons(record: Record) -> Record:
    """A record without its sentences on which network is better."""
    content = {key: value for key, value in record.content.items() if key != "comparisons"}
    return dataclasses.replace(record, content=content)


def find_records(folder: Path) -> list[Record]:
    """The folder's records and those below it; without the single networks' where there is a record of the whole."""
    own, below = (list(filter(is_record_file, visible(folder, pattern))) for pattern in ("*.json", "*/*.json"))
    if any(path.name == "summary.json" for path in own):
        below = [path for path in below if path.name != "result.json"]
    files = sorted([*own, *below], key=lambda path: path.name != "summary.json")[:MAX_FILES]  # the whole comes first
    stems = {path: path.relative_to(folder).with_suffix("").as_posix() for path in files}
    owned, name = assign_pictures(find_pictures(folder), list(stems.values()), folder), folder.resolve().name
    for path, stem in stems.items():  # comparison/figure4.png is of comparison/comparison.json
        if path.stem == path.resolve().parent.name:
            owned[stem] += [picture for picture in owned[""] if picture.parent == path.parent]
    return [read_file(path, f"{name}/{path.relative_to(folder).as_posix()}", owned[stems[path]]) for path in files]


def find_pictures(folder: Path) -> list[Path]:
    """The folder's own pictures and those of the folders in it."""
    return [path for path in sorted([*visible(folder, "*.*"), *visible(folder, "*/*.*")]) if path.suffix in PICTURES][
        :MAX_FILES
    ]


def search_elements(folder: Path) -> list[Element]:
    """The curves of history.jsonl and the map of scheme.json."""
    file, history = folder / "scheme.json", folder / "history.jsonl"
    if not file.is_file():
        return []
    scheme, content = Scheme.load(file), read_scheme_file(file)
    data = str(content.get("data") or "")
    network = network_title(content.get("arch"), content.get("attention"))
    parts = [text for text in (network, DATA.get(data, data), labels_of(content.get("method") or "")) if text]
    elements: list[Element] = [Maps((Map("The scheme", scheme, ", ".join([*parts, connections_text(scheme)])),))]
    if history.is_file():
        elements.insert(0, search_picture(history, scheme))
    return elements


def search_picture(history: Path, scheme: Scheme) -> Picture:
    """A search at a glance, drawn from its history.

    Raises:
        EANError: if the history is damaged or empty.
    """
    lines = read_lines(history)
    if not lines:
        raise EANError(f"{history} holds no complete line of a search: run the search with --resume")
    different = len({line.bits for line in lines})
    drawn = sum(not line.final for line in lines)
    first = next((line for line in lines if line.bits == scheme.text), None)
    found = (
        f" The scheme was first scored at evaluation {first.evaluations:,}, in step {first.step:,}." if first else ""
    )
    return Picture(
        "The search",
        "reward, accuracy, sparsity and mean probability of the drawn scheme, by step",
        partial(draw_curves, lines, scheme),
        note=f"{drawn} schemes drawn, {different} different ones scored.{found}",
    )


def draw_curves(lines: list[HistoryLine], scheme: Scheme) -> bytes:
    """The chart of a search as a PNG file's content."""
    from ean_core.report.plots import draw_search

    with tempfile.TemporaryDirectory() as folder:
        return unwrap(draw_search)(Path(folder) / "search.png", lines, scheme).read_bytes()


def trained_table(records: list[Record]) -> Table:
    """Networks that were trained on their own, a row each."""
    rows = []
    for record in records:
        metrics = record.metrics
        figures = [number(metrics.get("top1")), number(metrics.get("top5")), counted(metrics.get("parameters"))]
        rows.append([record.path.parent.name, *figures, str(metrics.get("connections", GAP))])
    heads = ("network and seed", "test top-1, %", "test top-5, %", "parameters", "connections")
    machines = dict.fromkeys(record.machine for record in records)
    return Table(
        "Networks trained",
        heads,
        rows,
        notes=("; ".join(machines) + ".",),
        records=tuple(record.name for record in records),
    )
