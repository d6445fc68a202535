"""Text in pictures is what it says, and a picture that fails costs no run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ean_core.benchmark.timing import Interval
from ean_core.report.plots import bar_chart
from ean_core.utils.drawing import render, skip_on_error
from ean_core.utils.errors import EANError

NAMES = ["$", "a $b$ c", r"$\frac{$", r"cost$\badcommand$", "$$", r"\$"]


@pytest.mark.parametrize("name", NAMES)
def test_a_dollar_sign_is_a_dollar_sign(name: str, tmp_path: Path) -> None:
    bars = {name: {name: Interval(1.0, 0.5, 1.5)}}
    assert bar_chart(tmp_path / "a.png", bars, axis=name, title=name, note=name).stat().st_size > 1000
    figure = Figure()
    text = figure.add_subplot().set_title(name)
    render(figure, io.BytesIO(), format="png")
    assert not text.get_parse_math()


def test_a_picture_that_fails_costs_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @skip_on_error
    def fails(path: str | Path, error: Exception) -> Path:
        raise error

    (tmp_path / "a.png").write_bytes(b"of an earlier run")
    assert fails(tmp_path / "a.png", RuntimeError("no font\nat all")) == tmp_path / "a.png"
    assert not (tmp_path / "a.png").exists()
    message = capsys.readouterr().err
    assert message.startswith(f"note: {tmp_path / 'a.png'} cannot be drawn (no font)")
    assert message.count("\n") == 1
    with pytest.raises(EANError):
        fails(tmp_path / "a.png", EANError("nothing to draw"))
