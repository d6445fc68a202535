"""A progress bar on a terminal; a plain line now and then in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def console() -> Console:
    """Where commands print. Wide enough for tables when the output is a file, where nobody can see a width."""
    return Console(width=None if sys.stdout.isatty() else 160)


class Bar:
    """Counts to `total` with a text that says where things stand.

    Args:
        name: of what is going on.
        total: how far it goes.
        every: seconds between the lines of a log file.
    """

    def __init__(self, name: str, total: int, *, every: float = 15.0) -> None:
        self.name, self.total, self.every = name, total, every
        self.done, self.start, self.last = 0, time.monotonic(), -float("inf")
        self.first = 0  # where this process began: a resumed run starts in the middle
        self.progress: Progress | None = None
        if sys.stdout.isatty():
            self.progress = Progress(
                TextColumn("{task.description:<12}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[text]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console(),
            )
            self.task = self.progress.add_task(name, total=total, text="")

    def update(self, done: int, text: str = "") -> None:
        """Show that `done` of `total` is done."""
        self.done = done
        if self.progress is not None:
            self.progress.update(self.task, completed=done, text=text)
        elif time.monotonic() - self.last >= self.every or done >= self.total:
            self.last = time.monotonic()
            spent = self.last - self.start
            left = spent / max(1, done - self.first) * (self.total - done)
            print(f"{self.name:<12} {done}/{self.total}  {text}  {spent:.0f} s, {left:.0f} s left", flush=True)

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.progress is not None:
            self.progress.console.print(text)
        else:
            print(text, flush=True)


@contextmanager
def bar(name: str, total: int, *, show: bool = True) -> Iterator[Bar | None]:
    """A `Bar` for the block, or None if `show` is false (processes other than the first)."""
    if not show:
        yield None
        return
    one = Bar(name, total)
    if one.progress is None:
        yield one
    else:
        with one.progress:
            yield one
