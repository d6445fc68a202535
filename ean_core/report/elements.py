"""What a report consists of: sections of tables, pictures, connection maps and gaps, free of any markup.

The same elements become Markdown (`markdown.py`) and HTML (`html_page.py`), so that the README, docs/results.md and the
page cannot say different things. Texts are plain; `code` between backticks is the only markup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ean_core.scheme import Scheme

GAP = "–"
"""What a cell shows that no record fills."""


@dataclass(frozen=True)
class Table:
    """Rows of texts under heads.

    Attributes:
        title: in bold above it, "" for none.
        heads: one per column; the first column names the row and stands to the left, the others are figures.
        rows: texts, `GAP` for what is not known.
        groups: heads above the heads, as (text, number of columns), covering all columns; () for none.
        notes: sentences below: data, n, spread, device, commit.
        records: file names of the records that the figures are from.
        left: indices of further columns that hold words and not figures.
    """

    title: str
    heads: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    groups: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    left: tuple[int, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A picture: a file, or an image drawn for the page alone.

    Attributes:
        title: above it.
        alt: what it shows, for who cannot see it.
        source: a file, or a function that draws a PNG for the page and gives its bytes.
        note: below it.
        records: file names of the records behind it.
        wide: it may stand alone in its row; otherwise pictures stand side by side where there is room.
    """

    title: str
    alt: str
    source: Path | Callable[[], bytes]
    note: str = ""
    records: tuple[str, ...] = ()
    wide: bool = True


@dataclass(frozen=True)
class Map:
    """A scheme to be drawn as a row of squares per stage."""

    title: str
    scheme: Scheme
    note: str = ""


@dataclass(frozen=True)
class Maps:
    """Connection maps that share a row where there is room."""

    maps: tuple[Map, ...]


@dataclass(frozen=True)
class Text:
    """A paragraph, with an optional bold beginning."""

    text: str
    title: str = ""
    records: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gap:
    """Something that no record fills yet, and the command that would."""

    what: str
    command: str


@dataclass(frozen=True)
class Numbered:
    """Paragraphs with numbers before them, from 1."""

    texts: tuple[Text, ...]


@dataclass(frozen=True)
class Verdict:
    """What a run came to, in sentences."""

    sentences: tuple[str, ...]


Element = Table | Picture | Maps | Text | Gap | Numbered | Verdict


@dataclass(frozen=True)
class Section:
    """A part of the report with a heading.

    Attributes:
        key: its anchor on the page.
        title: what it is, with the paper's number of the table or figure.
        elements: in order.
        intro: a sentence below the title.
        folded: the page shows it on demand only.
    """

    key: str
    title: str
    elements: Sequence[Element]
    intro: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Chapter:
    """Sections of the page under one heading; "" for no heading."""

    title: str
    sections: Sequence[Section]
