"""A progress bar on a terminal; an occasional line in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def console() -> Console:
    """The console of commands; 160 columns wide if the output is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 160)


class Bar:
    """A progress bar with a status text.

    Args:
        name: label of the bar.
        total: number of steps.
        every: seconds between two lines in a log file.
    """

    def __init__(self, name: str, total: int, *, every: float = 15.0) -> None:
        self.name, self.total, self.every = name, total, every
        self.done, self.start, self.last = 0, time.monotonic(), -float("inf")
        self.first = 0  # step at which this process started; not 0 in a resumed run
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
        """Show that `done` of `total` steps are finished."""
        self.done = done
        if self.progress is not None:
            self.progress.update(self.task, completed=done, text=text)
        elif time.monotonic() - self.last >= self.every or done >= self.total:
            self.last = time.monotonic()
            spent = self.last - self.start
            remaining = spent / max(1, done - self.first) * (self.total - done)
            print(f"{self.name:<12} {done}/{self.total}  {text}  {spent:.0f} s, {remaining:.0f} s left", flush=True)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
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
    progress_bar = Bar(name, total)
    if progress_bar.progress is None:
        yield progress_bar
    else:
        with progress_bar.progress:
            yield progress_bar
