"""The results as the README's table, as docs/results.md, and as one HTML page.

All three are made from the records under results/ and the paper's published figures, by the same functions: a file of
this package per table or figure gives elements (`elements.py`), which `markdown.py` and `html_page.py` write down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ean_core.io.json_file import read_text
from ean_core.report import (
    all_attentions,
    bn_calibration,
    correlation,
    fallback_table,
    figure1,
    landscapes,
    latency_table,
    markdown,
    overview,
    pareto,
    pictures,
    run_folders,
    search_curves,
    speed_comparison,
    table1,
    table2,
    table3,
    table4,
    table5,
    task_runs,
    time_increment,
    trim,
)
from ean_core.report.elements import Chapter, Element, Gap, Section, Text
from ean_core.report.html_page import page
from ean_core.report.results import MISSHAPEN, Record, Results, naming_record
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many

__all__ = ["BEGIN", "BEGIN_ALL", "END", "END_ALL", "html_report", "refresh", "replace_report", "report", "report_all"]

BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"
"""Marks around the one table, in the README."""
BEGIN_ALL, END_ALL = "<!-- report of everything: begin -->", "<!-- report of everything: end -->"
"""Marks around all tables, in docs/results.md."""
_ADVICE = f"give a file with the lines {BEGIN} and {END}"

SECTIONS: tuple[Callable[[Results], Section], ...] = (
    overview.section,
    table1.section,
    figure1.section,
    time_increment.section,
    all_attentions.section,
    table2.section,
    search_curves.section,
    table4.section,
    pareto.section,
    correlation.section,
    bn_calibration.section,
    trim.section,
    landscapes.section,
    table3.section,
    table5.section,
    speed_comparison.section,
    pictures.cam_section,
    pictures.other_pictures_section,
)
SHOWN_BY_KIND = (
    *(time_increment, latency_table, pareto, table3, table4, table5, correlation, landscapes, bn_calibration),
    *(all_attentions, speed_comparison, task_runs, trim),
)
KINDS: dict[str, Callable[[Results, Record], list[Element]]] = {
    "pipeline": lambda results, record: [
        table1.run_table(record, results.paper),
        *figure1.elements_of(results, record),
    ],
    **{kind: module.elements_of for module in SHOWN_BY_KIND for kind in module.KINDS},
}
"""Kind -> what a record becomes on its own; records of other kinds are listed as they are (`fallback_table.py`)."""


def report(directory: Path) -> str:
    """The README's table, and what has no record yet, as Markdown.

    Args:
        directory: holds the records.

    Raises:
        EANError: if the directory is missing or a record cannot be read.
    """
    results = read(directory)
    if not results.records:
        return f"No records in {directory.name}/ yet."
    elements = overview.summary(results)
    missing = [gap.what for part in all_sections(results) for gap in part.elements if isinstance(gap, Gap)]
    if missing:
        text = f"{'; '.join(missing)}. The commands are in docs/results.md."
        elements.append(Text(text, title="Not measured yet"))
    return markdown.elements(elements, directory=directory, prefix="results/")


def report_all(directory: Path) -> str:
    """All tables, with the gaps, as Markdown for a file in docs/; raises as `report` does."""
    return markdown.sections(all_sections(read(directory)), directory=directory, prefix="../results/")


def html_report(directory: Path | None, folders: Sequence[Path] = (), *, only: bool = False) -> str:
    """The page.

    Args:
        directory: of the project's records; None where there are none.
        folders: work directories, which come first.
        only: leave out the project's records.

    Raises:
        EANError: as `report`; or if a run folder is missing or holds nothing to show.
    """
    results = read(directory)
    runs: list[Section] = []
    records: list[Record] = []
    for number, folder in enumerate(folders, 1):
        part, in_folder = run_folders.section(folder, results, KINDS, number=number)
        runs.append(part)
        records += in_folder
    chapters = [Chapter("Your runs" if runs else "", runs)]
    if not only:
        chapters.append(Chapter("Recorded with the project" if runs else "", all_sections(results)))
        records += results.records
    dates = sorted(record.date for record in records)
    newest = f", the newest of {dates[-1]}" if dates else ""
    subject = "your runs" if only else "the paper's figures, ours, and the set-up of both"
    gaps = "" if only else "; what no record holds is shown as a gap"
    lead = (
        f"Efficient Attention Network (arXiv 2011.14058): {subject}. {how_many(len(records), 'record')}{newest}{gaps}."
    )
    return page(chapters, records, title="EAN: what was measured", lead=lead)


def read(directory: Path | None) -> Results:
    """The records, each of them tried alone, so that an error names the record that cannot be shown.

    Raises:
        EANError: if a file cannot be read, or a record lacks what its kind is shown by.
    """
    results = Results.read(directory)
    for record in results.records:
        with naming_record(record):
            shown = KINDS.get(record.kind, fallback_table.elements_of)(results, record)
            markdown.elements(shown, directory=results.directory, prefix="")  # fails for a text that is none
    return results


def all_sections(results: Results) -> list[Section]:
    """Every section, the records of unknown kinds last."""
    return [section_of(section, results) for section in (*SECTIONS, other_records)]


def section_of(section: Callable[[Results], Section], results: Results) -> Section:
    """A section of several records.

    Raises:
        EANError: naming the record without which the section could be made, if it cannot be made with it.
    """
    try:
        return section(results)
    except MISSHAPEN as error:
        if isinstance(error, EANError):
            raise
        for record in results.records:
            others = tuple(other for other in results.records if other is not record)
            with suppress(*MISSHAPEN):
                section(dataclasses.replace(results, records=others))
                break
        else:
            raise EANError(f"the records in {results.directory} cannot be shown ({error}): move some away") from error
        with naming_record(record):
            raise error


def other_records(results: Results) -> Section:
    """The records whose kind no section shows, each listed as it is."""
    others = [record for record in results.records if record.kind not in KINDS]
    elements = [element for record in others for element in fallback_table.elements_of(results, record)]
    return Section("other-records", "Other records", elements)


def refresh(path: Path, directory: Path) -> tuple[str, str]:
    """A file's content, and the content with up-to-date tables between its marks.

    Raises:
        EANError: as `report`; or if the file has no marks.
    """
    if BEGIN_ALL in read_text(path, advice=_ADVICE):
        return replace_report(path, report_all(directory), begin=BEGIN_ALL, end=END_ALL)
    return replace_report(path, report(directory))


def replace_report(path: Path, text: str, *, begin: str = BEGIN, end: str = END) -> tuple[str, str]:
    """A file's content, and the content with `text` between its marks.

    Raises:
        EANError: if the file has no marks.
    """
    old = read_text(path, advice=_ADVICE)
    before, begin_mark, rest = old.partition(begin)
    _, end_mark, after = rest.partition(end)
    if not begin_mark or not end_mark:
        raise EANError(f"{path} has no lines {begin} and {end} between which the tables could go")
    return old, f"{before}{begin}\n\n{text}\n\n{end}{after}"
