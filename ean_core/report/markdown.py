"""Elements as Markdown, for the README and docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ean_core.report.elements import Element, Gap, Maps, Numbered, Picture, Section, Table, Text, Verdict


def sections(parts: Sequence[Section], *, directory: Path, prefix: str) -> str:
    """Sections under headings of the second level.

    Args:
        parts: the sections; one that shows nothing in Markdown is left out.
        directory: of the records and their pictures.
        prefix: of links to it, such as "../results/".
    """
    texts = []
    for part in parts:
        body = elements(part.elements, directory=directory, prefix=prefix)
        if body:
            texts.append("\n\n".join(filter(None, [f"## {plain(part.title)}", plain(part.intro), body])))
    return "\n\n".join(texts)


def elements(parts: Sequence[Element], *, directory: Path, prefix: str) -> str:
    """Elements, separated by blank lines."""
    return "\n\n".join(filter(None, (element(part, directory=directory, prefix=prefix) for part in parts)))


def element(part: Element, *, directory: Path, prefix: str) -> str:
    """An element; "" for one that Markdown cannot show (a picture without a file here, a map)."""
    if isinstance(part, Table):
        return table(part, prefix=prefix)
    if isinstance(part, Text):
        title = f"**{plain(part.title)}**" if part.title else ""
        return " ".join(filter(None, [title + links(part.records, prefix) + (":" if title else ""), plain(part.text)]))
    if isinstance(part, Numbered):
        return "\n".join(
            f"{n}. {plain(text.text)}{links(text.records, prefix)}" for n, text in enumerate(part.texts, 1)
        )
    if isinstance(part, Gap):
        return f"*{plain(part.what)}: no record yet. It is made with* `{part.command}`"
    if isinstance(part, Picture) and isinstance(part.source, Path) and part.source.is_relative_to(directory):
        link = part.source.relative_to(directory).as_posix().replace(" ", "%20")
        return f"![{plain(part.alt).replace(']', ')').replace('[', '(')}]({prefix}{link})"
    if isinstance(part, Verdict):
        return "\n".join(f"- {plain(sentence)}" for sentence in part.sentences)
    assert isinstance(part, Picture | Maps)
    return ""


def table(part: Table, *, prefix: str) -> str:
    """A Markdown table with its title above and its notes below."""
    groups = [text for text, columns in part.groups for _ in range(columns)] or [""] * len(part.heads)
    heads = [f"{group}: {head}" if group else head for group, head in zip(groups, part.heads, strict=True)]
    marks = [":--" if column == 0 or column in part.left else "--:" for column in range(len(heads))]
    title = [f"**{plain(part.title)}**{links(part.records, prefix)}", ""] if part.title else []
    lines = [*title, row(heads), f"|{'|'.join(marks)}|"]
    lines += [row(cells) for cells in part.rows]
    if part.notes:
        lines += ["", " ".join(plain(note) for note in part.notes)]
    return "\n".join(lines)


def row(cells: Sequence[str]) -> str:
    """A line of a table; `|` inside a cell is escaped."""
    return "| " + " | ".join(plain(cell).replace("|", "\\|") for cell in cells) + " |"


def links(records: Sequence[str], prefix: str) -> str:
    """Links to records in parentheses, such as " ([record](results/a.json))"; "" for none."""
    if not records:
        return ""
    if len(records) == 1:
        return f" ([record]({prefix}{records[0]}))"
    return " (records " + ", ".join(f"[{n}]({prefix}{name})" for n, name in enumerate(records, 1)) + ")"


def plain(text: str) -> str:
    """A text on one line, in which no HTML can hide, whatever file it is from."""
    return " ".join(text.split()).replace("<", "&lt;")
