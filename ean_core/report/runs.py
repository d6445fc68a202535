"""Run folders: what a work directory holds, shown with the same tables as the records under results/."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from inspect import unwrap
from pathlib import Path
from typing import Any

from ean_core.report import generic
from ean_core.report.blocks import GAP, Block, Map, Maps, Picture, Section, Table
from ean_core.report.book import PICTURES, Book, Entry, assign, read_entry, shape_of, shown, visible
from ean_core.report.cells import counted, number
from ean_core.report.labels import labels_of
from ean_core.report.schemes import connected
from ean_core.scheme import Scheme, read_scheme_file
from ean_core.search.history import read_lines
from ean_core.utils.errors import EANError

MOST = 40
"""Records and pictures taken from one folder."""


def section(folder: Path, book: Book, kinds: Mapping[str, Any], *, number: int) -> tuple[Section, list[Entry]]:
    """A folder's section, and its records.

    Args:
        folder: a work directory.
        book: for the paper's figures.
        kinds: kind -> what turns a record of it into blocks.
        number: makes the section's key different from others'.

    Raises:
        EANError: if there is no such folder, or nothing in it can be shown.
    """
    if not folder.is_dir():
        raise EANError(f"run folder {folder} does not exist: give a directory that a command wrote, as work_dirs/NAME")
    entries = find_entries(folder)
    blocks: list[Block] = [*search_blocks(folder)]
    trained = [entry for entry in entries if entry.kind == "train"]
    if trained:
        for entry in trained:
            with shape_of(entry):
                trained_table([entry])
        blocks.append(trained_table(trained))
    for entry in entries:
        if entry.kind in kinds:
            with shape_of(entry):
                blocks += kinds[entry.kind](book, entry)
        elif entry.kind != "train":
            blocks += generic.blocks_of(book, entry)
    there = {block.source for block in blocks if isinstance(block, Picture)}
    blocks += [
        Picture(path.name, f"picture {path.name} of the run {folder.resolve().name}", path)
        for path in find_pictures(folder)
        if path not in there and path.name != "search.png"
    ]
    if not blocks:
        raise EANError(
            f"run folder {folder} holds nothing to show (no history.jsonl, scheme.json, summary.json or result.json): "
            "give a directory that a command wrote, as work_dirs/NAME"
        )
    return Section(f"run-{number}", f"Run: {folder.resolve().name}", blocks), entries


def find_entries(folder: Path) -> list[Entry]:
    """The folder's records and those below it; without the single networks' where there is a record of the whole."""
    own, below = (list(filter(shown, visible(folder, pattern))) for pattern in ("*.json", "*/*.json"))
    if any(path.name == "summary.json" for path in own):
        below = [path for path in below if path.name != "result.json"]
    files = [*own, *below][:MOST]
    stems = {path: path.relative_to(folder).with_suffix("").as_posix() for path in files}
    owned, name = assign(find_pictures(folder), list(stems.values()), folder), folder.resolve().name
    for path, stem in stems.items():  # comparison/figure4.png is of comparison/comparison.json
        if path.stem == path.resolve().parent.name:
            owned[stem] += [picture for picture in owned[""] if picture.parent == path.parent]
    return [read_entry(path, f"{name}/{path.relative_to(folder).as_posix()}", owned[stems[path]]) for path in files]


def find_pictures(folder: Path) -> list[Path]:
    """The folder's own pictures and those of the folders in it."""
    return [path for path in sorted([*visible(folder, "*.*"), *visible(folder, "*/*.*")]) if path.suffix in PICTURES][
        :MOST
    ]


def search_blocks(folder: Path) -> list[Block]:
    """The curves of history.jsonl and the map of scheme.json."""
    file, history = folder / "scheme.json", folder / "history.jsonl"
    if not file.is_file():
        return []
    scheme, content = Scheme.load(file), read_scheme_file(file)
    content = {**content, "method": labels_of(content.get("method") or "")}
    parts = [str(content[key]) for key in ("arch", "attention", "data", "method") if content.get(key)]
    blocks: list[Block] = [Maps((Map("scheme.json", scheme, ", ".join([*parts, connected(scheme)])),))]
    if history.is_file():
        blocks.insert(0, curves(history, scheme))
    return blocks


def curves(history: Path, scheme: Scheme) -> Picture:
    """A search at a glance, drawn from its history.

    Raises:
        EANError: if the history is damaged.
    """
    lines = read_lines(history)
    different = len({line["bits"] for line in lines})
    drawn = sum(not line.get("final") for line in lines)
    return Picture(
        "The search",
        "reward, accuracy, sparsity and mean probability of the drawn scheme, by step",
        partial(draw, lines, scheme),
        note=f"{drawn} schemes drawn, {different} different ones scored.",
    )


def draw(lines: list[dict[str, Any]], scheme: Scheme) -> bytes:
    """The PNG of a search."""
    from ean_core.report.plots import draw_search

    with tempfile.TemporaryDirectory() as folder:
        return unwrap(draw_search)(Path(folder) / "search.png", lines, scheme).read_bytes()


def trained_table(entries: list[Entry]) -> Table:
    """Networks trained one by one, a row each."""
    rows = []
    for entry in entries:
        metrics = entry.metrics
        figures = [number(metrics.get("top1")), number(metrics.get("top5")), counted(metrics.get("parameters"))]
        rows.append([entry.path.parent.name, *figures, str(metrics.get("connections", GAP))])
    heads = ("network and seed", "test top-1, %", "test top-5, %", "parameters", "connections")
    machines = dict.fromkeys(entry.machine for entry in entries)
    return Table(
        "Networks trained", heads, rows, notes=("; ".join(machines) + ".",), records=tuple(one.name for one in entries)
    )
