"""Texts that fit the terminal: sentences and help texts, wrapped between words. Nothing heavy is imported."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TextIO

from ean_core.utils.command_names import spelled

MAX_HELP_WIDTH = 100
"""Columns of a help text on a wide terminal; longer lines are hard to read."""
GAP = 3
"""Columns between a command and its remark."""
MAX_HANGING = 24
"""Where the second column begins at most, for its text to continue below itself."""
REMARK_INDENT = 6
_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|[kMG]B)(?![\w-]))")
"""The space between a number and its unit."""
_COMMAND = re.compile(r" +(?:python|ean|torchrun) ")
_WORD = re.compile(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+")
"""A word of a command, with what is quoted in it."""
_ROW = re.compile(r"(?P<indent> +)(?P<first>\S.*?)(?: {2,}(?P<second>\S.*))?$")


def print_wrapped(*lines: str, file: TextIO | None = None) -> None:
    """Print lines of prose; on a terminal they are wrapped between words, and never inside one.

    Args:
        lines: of text.
        file: where to; None for stdout.
    """
    stream = sys.stdout if file is None else file
    for line in lines:
        if stream is not None and stream.isatty():
            line = wrap_lines(line, width=terminal_width())
        print(line, file=stream, flush=True)


def wrap_lines(text: str, *, width: int, hang: int = 0) -> str:
    """A text whose lines are wrapped between words; a longer word, such as a path, stays whole, to be copied.

    A number stays with its unit, and an indented command can be copied: it continues after a backslash.

    Args:
        text: of one or several lines.
        width: in columns.
        hang: columns by which the continuation of a line is indented; an indented line has at least two.
    """
    return "\n".join(_wrap_line(line, width, hang) for line in text.split("\n"))


def _wrap_line(line: str, width: int, hang: int) -> str:
    indent = re.match(" *", line)[0]
    if _COMMAND.match(line):
        return "\n".join(wrap_command(words_of(line), width=width, first=indent, further=indent + " " * 4))
    glued = _UNIT.sub("\xa0", line)
    further = indent + " " * (max(hang, 2) if indent else hang)
    wrapped = textwrap.fill(glued, width, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)
    return wrapped.replace("\xa0", " ")


def terminal_width() -> int:
    """Columns of the terminal; 80 if there is none."""
    return max(20, shutil.get_terminal_size().columns)


def wrap_help(text: str, *, width: int) -> str:
    r"""Lay out a help text.

    Args:
        text: paragraphs, and indented rows: a command and a remark, or a term and its meaning, with two or more spaces
            between them. A row that ends with a backslash goes on in the next line.
        width: in columns. Paragraphs are filled; a meaning continues below itself; remarks that do not fit beside their
            commands go below them; a command that does not fit continues after a backslash, so that it can be copied.
    """
    lines: list[str] = []
    joined = re.sub(r" \\\n\s*", " ", text)
    for indented, group in groupby(joined.splitlines(), key=lambda line: line[:1].isspace() if line else None):
        if indented:
            lines += _wrap_rows(list(group), width)
        elif indented is None:
            lines += group
        else:
            lines += textwrap.wrap(" ".join(group), width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _wrap_rows(rows: Sequence[str], width: int) -> Iterator[str]:
    """Rows of one or two columns, the second aligned."""
    matches = [match for row in rows if (match := _ROW.match(row))]
    ends = [match.end("first") for match in matches if match["second"]]
    column = max(ends, default=0) + GAP
    fits = all(column + len(match["second"]) <= width for match in matches if match["second"])
    for match in matches:
        indent, first, second = match["indent"], match["first"], match["second"]
        if second and (fits or column <= MAX_HANGING):
            row = f"{indent}{first}".ljust(column)
            yield from textwrap.wrap(
                second, width, initial_indent=row, subsequent_indent=" " * column, break_on_hyphens=False
            )
            continue
        yield from wrap_command(words_of(first), width=width, first=indent, further=indent + " " * 4)
        if second:
            remark = " " * REMARK_INDENT
            yield from textwrap.wrap(second, width, initial_indent=remark, subsequent_indent=remark)


def words_of(command: str) -> list[str]:
    """The words of a command line, with their quotes."""
    return _WORD.findall(command)


def wrap_command(words: Sequence[str], *, width: int, first: str, further: str) -> list[str]:
    """Lines of a command that a shell reads as one, so that it can be copied: all but the last end with a backslash.

    Args:
        words: of the command, quoted where a shell would split them; none of them is broken.
        width: in columns. An option stays with its first value where both fit.
        first, further: what the first line and the others begin with.
    """
    if len(whole := first + " ".join(words)) <= width:
        return [whole]
    groups: list[str] = []
    for word in words:
        follows_option = groups and re.fullmatch(r"--?[a-z]\S*", groups[-1]) and not word.startswith("-")
        if follows_option and len(f"{further}{groups[-1]} {word} \\") <= width:
            groups[-1] += f" {word}"
        else:
            groups.append(word)
    lines = [first + groups[0]]
    for group in groups[1:]:
        if len(f"{lines[-1]} {group} \\") <= width:
            lines[-1] += f" {group}"
        else:
            lines.append(further + group)
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


class WrappedHelp(argparse.HelpFormatter):
    """Help whose texts are laid out by `wrap_help`, with commands as `spelled`; nothing is broken at a hyphen."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(terminal_width() - 2, MAX_HELP_WIDTH))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return textwrap.indent(wrap_help(spelled(text), width=width - len(indent)), indent)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(spelled(text).split()), width, break_on_hyphens=False)
