"""Text in pictures is drawn in fonts that have it, or as codes with one warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager

from ean_core.inference.explain.grid import Row, draw_grid
from ean_core.utils import fonts
from ean_core.utils.fonts import drawable


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing known of fonts, nothing warned of."""
    fonts.families_for.cache_clear()
    fonts._warned.clear()
    yield
    fonts.families_for.cache_clear()


@pytest.fixture
def bees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The family of a font that has the character for bee and no other."""
    builder = pytest.importorskip("fontTools.fontBuilder")
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    for step, point in enumerate([(0, 0), (500, 0), (500, 700), (0, 700)]):
        (pen.lineTo if step else pen.moveTo)(point)
    pen.closePath()
    made = builder.FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder([".notdef", "bee"])
    made.setupCharacterMap({ord("\u8702"): "bee"})
    made.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "bee": pen.glyph()})
    made.setupHorizontalMetrics({".notdef": (600, 0), "bee": (600, 0)})
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": "Bees of the tests", "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(tmp_path / "bees.ttf")
    entries = list(font_manager.fontManager.ttflist)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    font_manager.fontManager.addfont(tmp_path / "bees.ttf")
    return "Bees of the tests"


def default_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has matplotlib's own fonts only."""
    own = [entry for entry in font_manager.fontManager.ttflist if entry.name == fonts.DEFAULT]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)


def grid(path: Path, title: str) -> bytes:
    pixels = np.zeros((8, 8, 3), np.uint8)
    row = Row(title, pixels, [pixels], [np.zeros((8, 8), np.float32)], [title])
    return draw_grid(path, [row], ["a"]).read_bytes()


def test_an_installed_font_that_has_the_character_is_taken(bees: str, capsys) -> None:
    assert drawable("bee \u8702") == ("bee \u8702", [fonts.DEFAULT, bees])
    assert drawable("\u00e9t\u00e9 \u03b1 \u0436") == ("\u00e9t\u00e9 \u03b1 \u0436", [fonts.DEFAULT])
    assert capsys.readouterr().err == ""


def test_without_a_font_codes_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default_only(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib's own, one for each character
        pictures = [grid(tmp_path / "g.png", title) for title in ("\u8702\u9be8", "\u8702", "\u8449", "\ue123")]
    assert len(set(pictures)) == 4, "boxes would make them one"


def test_the_warning_is_given_once(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    default_only(monkeypatch)
    for _ in range(2):
        assert drawable("\u8702 a") == (r"\u8702 a", [fonts.DEFAULT])
    message = capsys.readouterr().err
    assert message.count("warning: no installed font has \u8702") == 1
    assert message.count("\n") == 1


def test_a_dollar_is_a_dollar(tmp_path: Path) -> None:
    assert grid(tmp_path / "g.png", "$x^2$ and $\\frac{") != grid(tmp_path / "g.png", "x")
