"""The line of progress: what it says, when, and that it fits."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ean_core.utils.progress import Bar, bar


class Clock:
    """A clock that tests set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of progress bars."""
    clock = Clock()
    monkeypatch.setattr("ean_core.utils.progress.time.monotonic", clock)
    return clock


def test_a_slow_run_is_shown_after_its_first_steps(clock: Clock, capsys: pytest.CaptureFixture) -> None:
    with bar("supernet", 1000) as progress:
        for step in range(1, 1001):
            clock.now = 9.0 * step
            progress.update(step)
    steps = [int(line.split()[1].split("/")[0].replace(",", "")) for line in capsys.readouterr().out.splitlines()]
    assert steps[:5] == [1, 2, 4, 5, 7]  # 9 s a step: in between there is a line every 15 s
    assert 10 in steps
    assert steps[-1] == 1000


def test_a_fast_run_is_not_shown_step_by_step(clock: Clock, capsys: pytest.CaptureFixture) -> None:
    with bar("supernet", 1000) as progress:
        for step in range(1, 1001):
            clock.now = 0.01 * step
            progress.update(step)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_time_comes_first_and_what_does_not_fit_is_left_out(clock: Clock) -> None:
    progress = Bar("supernet", 64_000)
    clock.now = 131.0
    progress.update(1_600, "loss 2.301", "train 45.2 %", "epoch 12/500")
    line = progress.line(80)
    assert line.startswith("supernet 1,600/64,000  elapsed 2:11, remaining 1:25:09  loss 2.301")
    assert "epoch" not in line
    for width in (40, 60, 80, 100, 120):
        assert len(progress.line(width)) <= max(width, len(progress.line(0)))
    assert len(progress.line(0)) <= 80, "name, count and times always fit"


def test_a_resumed_run_counts_from_where_it_began(clock: Clock) -> None:
    progress = Bar("ean seed 0", 100)
    progress.first = 90
    clock.now = 10.0
    progress.update(95)
    assert progress.times() == "elapsed 0:10, remaining 0:10"
    clock.now += 5
    progress.update(progress.total)
    assert progress.times() == "took 0:15"


@pytest.mark.parametrize("width", [80, 100])
def test_the_line_on_a_terminal_fits(clock: Clock, width: int) -> None:
    progress = Bar("share-full seed 0", 64_000)
    clock.now = 131.0
    progress.update(1_600, "loss 2.301", "train 45.2 %", "epoch 12/500")
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    screen.print(progress)
    (line,) = screen.file.getvalue().splitlines()
    content = io.BytesIO()
    ascii_file = io.TextIOWrapper(content, encoding="ascii")
    Console(file=ascii_file, force_terminal=True, width=width, color_system=None).print(progress)
    ascii_file.flush()
    assert content.getvalue().decode("ascii").strip() == line.replace("━", "-")
    assert len(line) <= width
    assert "…" not in line
    assert "remaining 1:25:09" in line
