"""The results as the README's tables, as docs/results.md, and as one HTML page.

All three are made from the records under results/ and the paper's published figures, by the same functions: a file of
this package per table or figure gives blocks (`blocks.py`), which `markdown.py` and `page.py` write down.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ean_core.report import (
    batch_norm,
    correlation,
    costs,
    curves,
    figure1,
    generic,
    landscapes,
    markdown,
    pictures,
    runs,
    schemes,
    speed,
    table1,
    table3,
    table4,
    table5,
    time_increment,
    zoo,
)
from ean_core.report.blocks import Block, Gap, Section, Text
from ean_core.report.book import Book, Entry, shape_of
from ean_core.report.page import page
from ean_core.utils.errors import EANError

__all__ = ["BEGIN", "BEGIN_ALL", "END", "END_ALL", "html_report", "refresh", "replace_report", "report", "report_all"]

BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"
"""Around the short tables, in the README."""
BEGIN_ALL, END_ALL = "<!-- report of everything: begin -->", "<!-- report of everything: end -->"
"""Around all tables, in docs/results.md."""

SUMMARIES: tuple[Callable[[Book], Sequence[Block]], ...] = (
    table1.summary,
    time_increment.summary,
    table3.summary,
    table5.summary,
    speed.summary,
    table4.summary,
    landscapes.summary,
    correlation.summary,
    batch_norm.summary,
)
SECTIONS: tuple[Callable[[Book], Section], ...] = (
    table1.section,
    figure1.section,
    time_increment.section,
    zoo.section,
    schemes.section,
    curves.section,
    table4.section,
    costs.section,
    correlation.section,
    batch_norm.section,
    landscapes.section,
    table3.section,
    table5.section,
    speed.section,
    pictures.cam_section,
    pictures.loose_section,
)
KINDS: dict[str, Callable[[Book, Entry], list[Block]]] = {
    "pipeline": lambda book, entry: [table1.run_table(entry, book.paper), *figure1.blocks_of(book, entry)],
    **{
        kind: module.blocks_of
        for module in (time_increment, costs, table3, table4, table5, correlation, landscapes, batch_norm, zoo, speed)
        for kind in module.KINDS
    },
}
"""What a record becomes on its own; a record of another kind is listed with its name."""


def report(directory: Path) -> str:
    """The README's tables as Markdown.

    Args:
        directory: holds the records and paper.json.

    Raises:
        EANError: if the directory is missing or a record cannot be read.
    """
    book = read(directory)
    blocks = [block for summary in SUMMARIES for block in summary(book)]
    if not book.entries:
        return f"No records in {directory.name}/ yet."
    missing = [block.what for part in all_sections(book) for block in part.blocks if isinstance(block, Gap)]
    if missing:
        text = f"{'; '.join(missing)}. The commands that make them stand in docs/results.md."
        blocks.append(Text(text, title="Without a record yet"))
    return markdown.blocks(blocks, directory=directory, prefix="results/")


def report_all(directory: Path) -> str:
    """All tables, with the gaps, as Markdown for a file in docs/; raises as `report` does."""
    return markdown.sections(all_sections(read(directory)), directory=directory, prefix="../results/")


def html_report(directory: Path, folders: Sequence[Path] = ()) -> str:
    """The page, with the contents of run folders at the end of it.

    Raises:
        EANError: as `report`; or if a run folder is missing or holds nothing to show.
    """
    book = read(directory)
    parts, entries = all_sections(book), list(book.entries)
    for number, folder in enumerate(folders, 1):
        part, found = runs.section(folder, book, KINDS, number=number)
        parts.append(part)
        entries += found
    dates = sorted(entry.date for entry in entries)
    newest = f", the newest of {dates[-1]}" if dates else ""
    lead = (
        "Efficient Attention Network (arXiv 2011.14058): the paper's figures, ours, and the set-up of both. "
        f"{len(entries)} records{newest}; what no record holds is shown as a gap."
    )
    return page(parts, entries, title="EAN: what was measured", lead=lead)


def read(directory: Path) -> Book:
    """The records, each of them tried alone, so that one that cannot be shown is named.

    Raises:
        EANError: if a file cannot be read, or a record lacks what its kind is shown by.
    """
    book = Book.read(directory)
    for entry in book.entries:
        if entry.kind in KINDS:
            with shape_of(entry):
                KINDS[entry.kind](book, entry)
    return book


def all_sections(book: Book) -> list[Section]:
    """Every section, the records of unknown kinds last."""
    return [*(section(book) for section in SECTIONS), other_records(book)]


def other_records(book: Book) -> Section:
    """Records that no section shows."""
    found = [block for entry in book.entries if entry.kind not in KINDS for block in generic.blocks_of(book, entry)]
    return Section("other-records", "Other records", found)


def refresh(path: Path, directory: Path) -> tuple[str, str]:
    """A file's content, and the same with the tables of its marks made anew.

    Raises:
        EANError: as `report`; or if the file has no marks.
    """
    if not path.is_file():
        raise EANError(f"{path} does not exist: give a file with the lines {BEGIN} and {END}")
    if BEGIN_ALL in path.read_text(encoding="utf-8"):
        return replace_report(path, report_all(directory), begin=BEGIN_ALL, end=END_ALL)
    return replace_report(path, report(directory))


def replace_report(path: Path, text: str, *, begin: str = BEGIN, end: str = END) -> tuple[str, str]:
    """A file's content, and the same with `text` between its marks.

    Raises:
        EANError: if the file has no marks.
    """
    old = path.read_text(encoding="utf-8")
    before, found, rest = old.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise EANError(f"{path} has no lines {begin} and {end} between which the tables could go")
    return old, f"{before}{begin}\n\n{text}\n\n{end}{after}"
