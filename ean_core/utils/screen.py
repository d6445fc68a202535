"""What commands print: sentences, tables that fold to the width of the terminal, and the commands to run next."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Column, Table

from ean_core.utils.command_names import spelled
from ean_core.utils.errors import legible, steers
from ean_core.utils.wrapping import wrap_command, wrap_lines

LOG_WIDTH = 160
"""Columns of tables in a file or pipe, which has no width of its own."""
LOOK: dict[str, Any] = {"title_justify": "left", "box": SIMPLE_HEAD, "show_edge": False, "pad_edge": False}
GAP = 3
"""Columns between two columns of a table."""
LONGEST_WORD = 24
"""Longer ones in a table may be broken."""
WORD = re.compile(r"\S+ (?:to|x) \S+|\S+")
"""What is not broken in a table: a word, a range or a size."""


_drawn_on: list[Console] = []
"""Consoles with a line that is drawn anew: what is printed goes above it, if the same console prints it."""


def console() -> Console:
    """The console of commands: as wide as the terminal, or `LOG_WIDTH` if the output is a file or pipe."""
    return _drawn_on[-1] if _drawn_on else Console(width=None if sys.stdout.isatty() else LOG_WIDTH)


@contextmanager
def drawn_on(screen: Console) -> Iterator[None]:
    """Let everything in the block be printed by this console, on which a line is drawn anew."""
    _drawn_on.append(screen)
    try:
        yield
    finally:
        _drawn_on.remove(screen)


def say(*lines: object, hang: int = 0) -> None:
    """Print lines of prose, `legible` and with commands as `spelled`; on a terminal they are wrapped between words.

    Args:
        lines: of text.
        hang: columns by which the continuation of a line is indented, to tell entries of a list apart.
    """
    screen = console()
    for line in (legible(spelled(str(line))) for line in lines):
        if screen.is_terminal:
            wrapped = wrap_lines(line, width=screen.width, hang=hang)
            screen.print(wrapped, markup=False, emoji=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)


def say_verdict(sentences: Sequence[str]) -> None:
    """Print what the reader of a run wants to know, under a heading that is easy to find; nothing without sentences."""
    if sentences:
        say("verdict:", *(f"- {sentence}" for sentence in sentences), hang=2)


class LegibleTable(Table):
    """A table whose cells are `legible`: a class or a file can have any name."""

    def add_row(self, *cells: RenderableType | None, **how: Any) -> None:
        """Add a row, as `Table` does."""
        super().add_row(*(legible(cell) if isinstance(cell, str) else cell for cell in cells), **how)


def make_table(title: str, heads: Sequence[str], *, left: Collection[str] = ()) -> Table:
    """An empty table whose cells wrap between words where the terminal is narrow, and are never cut.

    Args:
        title: above the table.
        heads: of the columns; the first column is aligned to the left, the others to the right.
        left: heads of further columns that are aligned to the left.
    """
    table = LegibleTable(**LOOK, title=title)
    _add_columns(table, heads, left)
    return table


def _add_columns(table: Table, heads: Sequence[str], left: Collection[str]) -> None:
    for number, head in enumerate(heads):
        justify = "left" if number == 0 or head in left else "right"
        table.add_column(head, justify=justify, overflow="fold", vertical="top")


def print_table(table: Table) -> None:
    """Print a table of `make_table` without breaking a word.

    Where its rows have to wrap, they are kept apart by a line. Where not even the longest words of all columns fit side
    by side, the columns are spread over several tables, each with the first column.
    """
    screen = console()
    if table.title is not None:
        say(str(table.title))  # rich would wrap it to the width of the table
        table.title = None
    for part in _parts_that_fit(table, screen.width):
        screen.print(part, markup=False, emoji=False, highlight=False)


def _parts_that_fit(table: Table, width: int) -> Iterator[Table]:
    """The table, or tables of some of its columns each, with columns as wide as fits."""
    first, *others = table.columns
    groups: list[list[Column]] = [[first]]
    for column in others:
        if len(groups[-1]) > 1 and _needed(_longest_word, *groups[-1], column) > width:
            groups.append([first])
        groups[-1].append(column)
    for group in groups:
        heads = [str(column.header) for column in group]
        part = Table(**LOOK, show_lines=_needed(_longest_line, *group) > width)  # its cells are legible already
        _add_columns(part, heads, [str(column.header) for column in group if column.justify == "left"])
        widths = _widths(group, width - GAP * (len(group) - 1))
        for column, columns in zip(part.columns, widths, strict=True):
            column.width, column.header = columns, _wrap_cell(str(column.header), columns)
        for row in zip(*(column.cells for column in group), strict=True):
            part.add_row(*map(_wrap_cell, map(str, row), widths))
        yield part


def _needed(of: Callable[[Column], int], *columns: Column) -> int:
    """Columns of the screen that a table of so wide columns takes."""
    return sum(map(of, columns)) + GAP * (len(columns) - 1)


def _longest_line(column: Column) -> int:
    """Width at which nothing wraps."""
    return max(cell_len(line) for text in (column.header, *column.cells) for line in str(text).split("\n"))


def _longest_word(column: Column) -> int:
    """Width at which no word is broken; a path or a row of bits may be."""
    words = [word for text in (column.header, *column.cells) for word in WORD.findall(str(text))]
    return min(LONGEST_WORD, max(map(cell_len, words), default=0))


def _widths(columns: Sequence[Column], room: int) -> list[int]:
    """The width of each column: its longest word, and what is left goes to those that lack least."""
    widths = [_longest_word(column) for column in columns]
    room -= sum(widths)
    lacking = [_longest_line(column) - width for column, width in zip(columns, widths, strict=True)]
    for index in sorted(range(len(columns)), key=lacking.__getitem__):
        more = max(0, min(lacking[index], room))
        widths[index] += more
        room -= more
    return widths


def _wrap_cell(text: str, width: int) -> str:
    """A cell's text with line breaks, none of them inside a range."""
    lines = [""]
    for line in text.split("\n"):
        for word in WORD.findall(line):
            longer = f"{lines[-1]} {word}".strip()
            if cell_len(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        lines.append("")
    return "\n".join(filter(None, lines))


def say_next(*commands: Sequence[object]) -> None:
    """Print the few commands that the user will want next, ready to be copied.

    On a terminal a command that does not fit continues after a backslash; in a file or pipe it is one line.

    Args:
        commands: the words of each command; what a shell would split is quoted.
    """
    screen = console()
    width = screen.width if screen.is_terminal else sys.maxsize
    for number, words in enumerate(commands):
        first = "next: " if number == 0 else " " * 6
        lines = wrap_command([quoted(str(word)) for word in words], width=width, first=first, further=" " * 10)
        print("\n".join(lines), flush=True)


def quoted(word: str) -> str:
    """A word as a shell reads it; as bash's $'..' if it has characters that would steer the terminal."""
    if not any(map(steers, word)):
        return shlex.quote(word)
    escaped = (
        f"\\x{byte:02x}" if steers(character) else f"\\{character}" if character in "\\'" else character
        for character in word
        for byte in (os.fsencode(character) if steers(character) else b" ")
    )
    return f"$'{''.join(escaped)}'"


def script(path: str) -> list[str]:
    """The words that start a script of this project, such as "tools/predict.py", from the current directory."""
    words = spelled(f"python {path}").split()
    if words[0] != "python":  # the command `ean` is running
        return words
    file = Path(__file__).resolve().parents[2] / path
    here = Path.cwd()
    return ["python", str(file.relative_to(here)) if file.is_relative_to(here) else str(file)]
