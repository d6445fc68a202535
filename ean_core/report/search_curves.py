"""The curves of a search: reward, accuracy, sparsity and probability against steps, and the scheme it returned."""

from __future__ import annotations

from ean_core.report.elements import Element, Gap, Section
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Results

KINDS = ("pipeline",)
COMMAND = "python tools/search.py --resume"
SHOWS = "reward without curiosity, validation accuracy, sparsity and mean probability of the drawn scheme, by step"


def section(results: Results) -> Section:
    """The pictures that the runs of the pipeline left beside their records."""
    elements: list[Element] = [picture for record in results.of_kind(*KINDS) for picture in pictures_of(record, SHOWS)]
    return Section("search-curves", "The search's curves", elements or [Gap("curves of a search", COMMAND)])
