"""A line of progress on a terminal, which is drawn anew; an occasional line in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from ean_core.utils.errors import legible
from ean_core.utils.screen import console, drawn_on
from ean_core.utils.text import clock

EARLY = (1, 2, 5, 10)
"""Steps after which progress is shown in any case, so that a slow run says soon how long it will take."""
BAR_WIDTH = 24
LEAST_BAR = 8
LINE_WIDTH = 80
"""Columns of a line in a log file."""


class Bar:
    """The progress of some steps: `supernet 30/750  elapsed 2:11, remaining 52:24  loss 2.301`.

    Args:
        name: of the work.
        total: number of steps.
        every: seconds between two lines in a log file; a few early steps have a line of their own (`EARLY`).
        refresh: redraw by a thread four times a second; False to draw in `update` only, while clocks run.
    """

    def __init__(self, name: str, total: int, *, every: float = 15.0, refresh: bool = True) -> None:
        self.name, self.total, self.every = name, total, every
        self.done, self.fields = 0, ()
        self.first = 0  # step at which this process started; not 0 in a resumed run
        self.start = self.updated = time.monotonic()
        self.printed = -float("inf")
        screen = console()
        self.live = Live(self, console=screen, auto_refresh=refresh) if screen.is_terminal else None

    def update(self, done: int, *fields: str) -> None:
        """Show that `done` of `total` steps are finished.

        Args:
            done: number of steps.
            fields: what else to show, the most important first: those that do not fit are left out.
        """
        self.done, self.fields, self.updated = done, fields, time.monotonic()
        if self.live is not None:
            self.live.update(self, refresh=not self.live.auto_refresh or done >= self.total)
        elif self._line_is_due():
            self.printed = self.updated
            print(self.line(LINE_WIDTH), flush=True)

    def _line_is_due(self) -> bool:
        """Whether a log file gets a line for this update."""
        since = self.updated - self.printed
        return since >= self.every or self.done >= self.total or (self.done - self.first in EARLY and since >= 1)

    def line(self, width: int) -> str:
        """Name, count, times and as many fields as fit into `width` columns."""
        line = f"{self.name} {self.done:,}/{self.total:,}  {self.times()}"
        for field in map(legible, self.fields):
            if len(line) + 2 + len(field) > width:
                break
            line += f"  {field}"
        return line

    def times(self) -> str:
        """The time that has passed, and the time that remains at the same pace; at the end the time that all took."""
        if self.done >= self.total:
            return f"took {clock(self.updated - self.start)}"
        now = time.monotonic()
        elapsed = f"elapsed {clock(now - self.start)}"
        if self.done <= self.first:
            return elapsed
        pace = (self.updated - self.start) / (self.done - self.first)
        remaining = pace * (self.total - self.done) - (now - self.updated)
        return f"{elapsed}, remaining {clock(max(0.0, remaining))}"

    def __rich_console__(self, screen: Console, options: ConsoleOptions) -> RenderResult:
        """The line, and a bar where there is room for one."""
        text = Text(self.line(options.max_width), no_wrap=True, overflow="crop")
        room = min(BAR_WIDTH, options.max_width - text.cell_len - 2)
        if room >= LEAST_BAR:
            filled = round(room * min(1.0, self.done / max(1, self.total)))
            done, left = ("#", "-") if options.ascii_only else ("━", "━")
            text.append("  ").append(done * filled, style="bar.complete").append(left * (room - filled), "bar.back")
        yield text


@contextmanager
def bar(name: str, total: int, *, show: bool = True, refresh: bool = True, keep: bool = True) -> Iterator[Bar | None]:
    """A `Bar` for the block, or None if `show` is false (processes other than the first).

    Args:
        name, total, refresh: as for `Bar`.
        show: whether there is one.
        keep: leave its last state on the terminal; False for work that is meant to end before its last step.
    """
    if not show:
        yield None
        return
    progress_bar = Bar(name, total, refresh=refresh)
    if progress_bar.live is None:
        yield progress_bar
    else:
        progress_bar.live.transient = not keep
        with progress_bar.live, drawn_on(progress_bar.live.console):
            yield progress_bar
