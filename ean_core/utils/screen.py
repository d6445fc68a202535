"""What commands print: sentences, tables that fold to the width of the terminal, and the commands to run next."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table

from ean_core.utils.command_names import spelled
from ean_core.utils.errors import legible, steers

LOG_WIDTH = 160
"""Columns of tables in a file or pipe, which has no width of its own."""


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


def say(*lines: object) -> None:
    """Print lines of prose, `legible` and with commands as `spelled`; on a terminal they are wrapped between words."""
    screen = console()
    for line in (legible(spelled(str(line))) for line in lines):
        if screen.is_terminal:
            screen.print(line, markup=False, emoji=False, highlight=False)
        else:
            print(line, flush=True)


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
    table = LegibleTable(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, head in enumerate(heads):
        justify = "left" if number == 0 or head in left else "right"
        table.add_column(head, justify=justify, overflow="fold", vertical="top")
    return table


def print_table(table: Table) -> None:
    """Print a table of `make_table`; where its rows have to wrap, they are kept apart by a line."""
    screen = console()
    if table.title is not None:
        say(str(table.title))  # rich would wrap it to the width of the table
        table.title = None
    table.show_lines = Measurement.get(screen, screen.options.update(max_width=10_000), table).maximum > screen.width
    screen.print(table, markup=False, emoji=False, highlight=False)


def say_next(*commands: Sequence[object]) -> None:
    """Print the one or two commands that the user will want next, ready to be copied: they are not wrapped.

    Args:
        commands: the words of each command; what a shell would split is quoted.
    """
    for number, words in enumerate(commands):
        print(f"{'next: ' if number == 0 else '      '}{' '.join(quoted(str(word)) for word in words)}", flush=True)


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
