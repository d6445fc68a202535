"""The report as one HTML page that needs no other file and no network.

Pictures are data URIs, every text that comes from a file is escaped, and no script runs but the page's own.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from PIL import Image

from ean_core.report.elements import (
    GAP,
    Chapter,
    Element,
    Gap,
    Map,
    Maps,
    Numbered,
    Picture,
    Section,
    Table,
    Text,
    Verdict,
)
from ean_core.report.html_script import POLICY, SCRIPT
from ean_core.report.html_style import STYLE
from ean_core.report.results import Record
from ean_core.utils.errors import EANError, legible

SETTINGS_SHOWN = 12_000
"""Characters of a record's settings that the page holds; the record has the rest."""
WIDE = 900
"""Pictures with more pixels across than this keep a readable size on a phone and scroll in their box."""


def page(chapters: Sequence[Chapter], records: Sequence[Record], *, title: str, lead: str) -> str:
    """The whole page as HTML.

    Args:
        chapters: in order; a section without elements is left out.
        records: the records behind them, listed at the end with their settings.
        title, lead: at the top.
    """
    writer, body, contents = Writer(), [], []
    for chapter in chapters:
        shown = [part for part in chapter.sections if part.elements]
        if not shown:
            continue
        list_of = "".join(f'<li><a href="#{escape(part.key)}">{inline(part.title)}</a></li>' for part in shown)
        list_of = f"<ol>{list_of}</ol>"
        if chapter.title:
            body.append(f'<h2 class="chapter">{inline(chapter.title)}</h2>')
            list_of = f"<details><summary>{inline(chapter.title)}</summary>{list_of}</details>"
        contents.append(list_of.replace("<details>", "<details open>") if not contents else list_of)
        body += [writer.section(part) for part in shown]
    if records:
        contents.append('<ol><li><a href="#records">Records</a></li></ol>')
        body.append(record_details(records))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
            '<link rel="icon" href="data:,">',  # or a browser asks the disk for favicon.ico
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}</style>",
            "</head>",
            "<body>",
            f'<header><h1>{escape(title)}</h1><p class="lead">{inline(lead)}</p></header>',
            f'<nav aria-label="Contents">{"".join(contents)}</nav>',
            "<main>",
            *body,
            "</main>",
            f"<script>{SCRIPT}</script>",
            "</body>",
            "</html>\n",
        ]
    )


class Writer:
    """Turns elements into HTML, and numbers those that need an id of their own."""

    def __init__(self) -> None:
        self.number = 0

    def section(self, part: Section) -> str:
        """A section; pictures that are not wide share a row with their neighbors."""
        body = []
        for in_row, group in groupby(part.elements, key=lambda each: isinstance(each, Picture) and not each.wide):
            texts = [self.element(each) for each in group]
            body.append(f'<div class="row">\n{"".join(texts)}</div>\n' if in_row else "".join(texts))
        intro = f'<p class="intro">{inline(part.intro)}</p>\n' if part.intro else ""
        head, text = f"<h2>{inline(part.title)}</h2>", f"{intro}{''.join(body)}"
        if part.folded:
            text = f'<details class="part"><summary>{head}</summary>\n{text}</details>'
        else:
            text = f"{head}\n{text}"
        return f'<section id="{escape(part.key)}">\n{text}</section>'

    def element(self, part: Element) -> str:
        """The HTML of an element, whatever its type."""
        if isinstance(part, Table):
            return self.table(part)
        if isinstance(part, Picture):
            return self.picture(part)
        if isinstance(part, Maps):
            return f'<div class="maps">\n{"".join(map(scheme_map, part.maps))}</div>\n'
        if isinstance(part, Gap):
            return (
                f'<p class="gap"><b>No record yet:</b> {inline(part.what)}. It is made with '
                f"<code>{escape(part.command)}</code></p>\n"
            )
        if isinstance(part, Numbered):
            texts = "".join(f"<li>{inline(text.text)}{links(text.records)}</li>\n" for text in part.texts)
            return f'<ol class="note">\n{texts}</ol>\n'
        if isinstance(part, Verdict):
            sentences = "".join(f"<li>{verdict_sentence(sentence)}</li>\n" for sentence in part.sentences)
            return f'<div class="verdict"><h3>Verdict</h3><ul>\n{sentences}</ul></div>\n'
        assert isinstance(part, Text)
        head = f"<h3>{inline(part.title)}</h3>" if part.title else ""
        return f'<div class="said">{head}<p>{inline(part.text)}{links(part.records)}</p></div>\n'

    def table(self, part: Table) -> str:
        """A table in a box of its own, which scrolls where the page is narrow."""
        self.number += 1
        label = f"table-{self.number}-title"
        groups = "".join(
            f'<th class="group" colspan="{columns}">{f"<span>{inline(text)}</span>" if text else ""}</th>'
            for text, columns in part.groups
        )
        text_columns = {0, *part.left}
        heads = "".join(
            f'<th scope="col"{class_left(n in text_columns)}>{inline(head)}</th>' for n, head in enumerate(part.heads)
        )
        rows = []
        for first, *others in part.rows:
            figures = "".join(
                f"<td{class_left(n in text_columns)}>{cell(text)}</td>" for n, text in enumerate(others, 1)
            )
            rows.append(f'<tr><th scope="row">{inline(first)}</th>{figures}</tr>\n')
        title = f'<h3 id="{label}">{inline(part.title)}</h3>' if part.title else ""
        named = f'aria-labelledby="{label}"' if part.title else 'aria-label="table"'
        return (
            f"<figure>{title}\n"
            f'<div class="scroll" tabindex="0" role="region" {named}><table>\n<thead>'
            f"{f'<tr>{groups}</tr>' if groups else ''}<tr>{heads}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>"
            f"</table></div>\n{note(' '.join(part.notes), part.records)}</figure>\n"
        )

    def picture(self, part: Picture) -> str:
        """A picture as a data URI, with its title above and its note below."""
        uri, width, height = data_uri(part.source)
        kind = ' class="wide"' if part.wide and width > WIDE and width > height else ""
        return (
            f'<figure><h3>{inline(part.title)}</h3>\n<div class="scroll"><img src="{uri}" width="{width}" '
            f'height="{height}"{kind} alt="{escape(part.alt)}"></div>\n{note(part.note, part.records)}</figure>\n'
        )


def scheme_map(part: Map) -> str:
    """A scheme as a row of squares per stage, and as words for screen readers."""
    stages, descriptions = [], []
    for number, bits in enumerate(part.scheme.stages, 1):
        squares = "".join('<i class="on"></i>' if bit else "<i></i>" for bit in bits)
        stages.append(f'<div class="stage"><b>{number}</b>{squares}</div>')
        descriptions.append(f"stage {number}: {''.join(map(str, bits))}")
    return (
        f'<div class="map"><h3>{inline(part.title)}</h3><div role="img" aria-label="{escape("; ".join(descriptions))}">'
        f"{''.join(stages)}</div>{note(part.note, ())}</div>\n"
    )


def record_details(records: Sequence[Record]) -> str:
    """Every record's settings, folded, so that a reader need not have the files."""
    parts = []
    for record in records:
        text = json.dumps(record.settings, indent=1, default=str, ensure_ascii=False)
        if len(text) > SETTINGS_SHOWN:
            text = text[:SETTINGS_SHOWN] + "\n[the record has the rest]"
        parts.append(
            f'<details id="{anchor(record.name)}"><summary>{escape(record.name)} '
            f"<span>{escape(', '.join(filter(None, (record.kind, record.machine, record.date))))}</span></summary>"
            f"<pre>{escape(text)}</pre></details>\n"
        )
    return (
        '<section id="records">\n<h2>Records</h2>\n<p class="intro">Every figure above is from one of these files; '
        f"their settings are shown on opening.</p>\n{''.join(parts)}</section>"
    )


# -- pieces -----------------------------------------------------------------------------------------------------------


def inline(text: str) -> str:
    """A text, `legible` and escaped, with `code` between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(legible(text)))


def cell(text: str) -> str:
    """A figure, with its spread or interval in a softer tone; a gap says that there is no record."""
    if text == GAP:
        return f'<span class="none" title="no record">{GAP}</span>'
    match = re.fullmatch(r"([-+−]?[\d.,]+)( ± .+| \(.+\))", text)
    return f'{match[1]}<span class="spread">{escape(match[2])}</span>' if match else inline(text)


def verdict_sentence(text: str) -> str:
    """A comparison with what it comes to, the words behind the figures, in bold."""
    head, colon, end = text.rpartition("): ")
    return f"{inline(head)}): <b>{inline(end)}</b>" if colon else inline(text)


def class_left(is_text: bool) -> str:
    """The CSS class of a cell: text stands to the left, figures to the right."""
    return ' class="left"' if is_text else ""


def note(text: str, of: Sequence[str]) -> str:
    """The small print below an element, with links to its records; "" without either."""
    return f'<p class="note">{inline(text)}{links(of)}</p>\n' if text or of else ""


def links(of: Sequence[str]) -> str:
    """Links to the records at the end of the page, by file name."""
    anchors = ", ".join(f'<a href="#{anchor(name)}">{escape(name)}</a>' for name in of)
    return f" Record{'s' if len(of) > 1 else ''}: {anchors}." if anchors else ""


def anchor(name: str) -> str:
    """A record's id on the page: letters, digits and dashes, and different for different names."""
    return "record-" + "".join(char if char.isascii() and char.isalnum() else f"-{ord(char):x}-" for char in name)


def data_uri(source: Path | Callable[[], bytes]) -> tuple[str, int, int]:
    """A picture as a data URI, with its width and height in pixels.

    Raises:
        EANError: if it cannot be read as a picture.
    """
    try:
        content = source.read_bytes() if isinstance(source, Path) else source()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            width, height, kind = image.width, image.height, image.get_format_mimetype()
    except (OSError, SyntaxError, ValueError) as error:
        what = source if isinstance(source, Path) else "a drawn figure"
        raise EANError(f"picture {what} cannot be read ({error}): draw it again, or remove it") from None
    return f"data:{kind};base64,{base64.b64encode(content).decode()}", width, height
