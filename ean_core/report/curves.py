"""The search's curves: reward, accuracy, sparsity and probability against steps, and the scheme found."""

from __future__ import annotations

from ean_core.report.blocks import Block, Gap, Section
from ean_core.report.book import Book
from ean_core.report.pictures import pictures_of

KINDS = ("pipeline",)
COMMAND = "python tools/search.py --resume"
SHOWS = "reward without curiosity, validation accuracy, sparsity and mean probability of the drawn scheme, by step"


def section(book: Book) -> Section:
    """The pictures that the runs of the pipeline left beside their records."""
    blocks: list[Block] = [picture for entry in book.of(*KINDS) for picture in pictures_of(entry, SHOWS)]
    return Section("search-curves", "The search's curves", blocks or [Gap("curves of a search", COMMAND)])
