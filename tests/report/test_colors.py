"""A color of its own for every search method, that color-blind readers can tell apart."""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from landscape_study import draw
from landscape_suite import MAIN, VARIANTS
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ean_core.io.records import read_record
from ean_core.report import plots_search
from ean_core.report.colors import FURTHER_COLORS, METHOD_COLORS, NETWORK_COLORS, colors_of
from ean_core.report.labels import full_name
from ean_core.report.plots import COLORS
from ean_core.search import METHODS
from tests.helpers import report_records as made

# Machado, Oliveira and Fernandes 2009, severity 1: linear RGB as readers without one of the cones see it.
SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopes": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopes": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
# Ottosson 2020, https://bottosson.github.io/posts/oklab/
TO_CONES = [[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]
TO_OKLAB = [[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]]


def apart(one: str, other: str) -> float:
    """How different two colors look to the reader who sees least of it: their distance in Oklab."""

    def oklab(color: str, seen: object) -> np.ndarray:
        values = np.array(to_rgb(color))
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return np.array(TO_OKLAB) @ np.cbrt(np.array(TO_CONES) @ np.clip(np.array(seen) @ linear, 0, 1))

    return min(float(np.linalg.norm(oklab(one, seen) - oklab(other, seen))) for seen in SEEN_BY.values())


def test_every_method_and_preset_has_a_color_of_its_own() -> None:
    assert set(METHODS) <= set(METHOD_COLORS)
    assert len(set(METHOD_COLORS.values())) == len(METHOD_COLORS)
    assert not set(METHOD_COLORS.values()) & set(FURTHER_COLORS)
    shown = colors_of([full_name(*VARIANTS[name]) for name in MAIN])
    assert set(shown.values()) <= set(METHOD_COLORS.values())
    assert len(set(shown.values())) == len(MAIN)
    assert colors_of(["ean"]) == {"ean": colors_of(["ean:paper"])["ean:paper"]}


def test_the_colors_are_as_far_apart_as_those_of_the_color_blind_palette() -> None:
    palette = min(apart(one, other) for one, other in combinations(COLORS, 2))
    assert min(apart(one, other) for one, other in combinations(METHOD_COLORS.values(), 2)) >= palette - 1e-6


def test_other_methods_keep_their_color_from_picture_to_picture() -> None:
    first, second = colors_of(["ean", "mine"]), colors_of(["mine:depth=2", "random", "mine"])
    assert list(second) == ["mine:depth=2", "random", "mine"]
    assert first["mine"] == second["mine"]
    assert first["mine"] in FURTHER_COLORS


def test_a_method_with_options_has_the_methods_color_if_it_is_free() -> None:
    assert colors_of(["enas:hidden=32"]) == {"enas:hidden=32": METHOD_COLORS["enas"]}
    both = colors_of(["enas:hidden=32", "enas"])
    assert both["enas"] == METHOD_COLORS["enas"]
    assert both["enas:hidden=32"] in FURTHER_COLORS


def test_no_two_methods_of_a_picture_share_a_color_while_there_are_colors() -> None:
    names = [full_name(*variant) for variant in VARIANTS.values()]
    assert len(set(colors_of(names).values())) == len(names)
    many = [f"mine-{number}" for number in range(len(FURTHER_COLORS) + 3)]
    assert set(colors_of(many).values()) == set(FURTHER_COLORS)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Colour and style of the lines in the pictures that are saved."""
    seen: list[tuple[str, str]] = []
    original = Figure.savefig

    def reading(self: Figure, *arguments: object, **options: object) -> None:
        seen.extend((line.get_color(), line.get_linestyle()) for axes in self.axes for line in axes.get_lines())
        original(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", reading)
    return seen


def test_landscapes_are_drawn_with_a_color_per_method_and_a_line_per_answer(
    tmp_path: Path, lines: list[tuple[str, str]]
) -> None:
    curve = [[2.0, 1.0, 3.0], [1.0, 0.5, 1.5]]
    rows = [
        {"bits": 9, "landscape": "noise", "method": name, "evaluations": [10, 20], "best": curve, "smoothed": curve}
        for name in MAIN
    ]
    arguments = argparse.Namespace(methods=MAIN, bits=[9], landscapes=["noise"], seeds=2)
    draw(rows, arguments, tmp_path / "a.png")
    colors = colors_of([full_name(*VARIANTS[name]) for name in MAIN]).values()
    assert lines == [(color, style) for color in colors for style in ("-", ":")]


def test_a_comparison_is_drawn_in_the_methods_colors_and_others_dashed(
    tmp_path: Path, lines: list[tuple[str, str]]
) -> None:
    record = read_record(made.comparison(tmp_path / "compared.json"))
    mine = {**record["metrics"]["runs"][1], "method": "mine"}
    record["metrics"]["runs"].append(mine)
    record["settings"]["methods"]["mine"] = {}
    plots_search.draw_comparison(tmp_path / "a.png", record)
    assert lines == [(METHOD_COLORS["ean"], "-"), (METHOD_COLORS["random"], "-"), (colors_of(["mine"])["mine"], "--")]


def test_figure_4_and_table_4_have_the_same_colors(tmp_path: Path, lines: list[tuple[str, str]]) -> None:
    record = read_record(made.comparison(tmp_path / "compared.json"))
    figure4 = record["metrics"]["figure4"]["methods"]
    figure4["enas"] = figure4.pop("ean")
    record["settings"]["methods"]["enas"] = {}
    plots_search.draw_distributions(tmp_path / "a.png", record)
    assert lines == [(plots_search.GRAY, "-"), (METHOD_COLORS["enas"], "-")]  # the means
    lines.clear()
    plots_search.draw_retrained(tmp_path / "b.png", read_record(made.retrained(tmp_path / "again.json")))
    assert {color for color, _ in lines} == {NETWORK_COLORS["org"], METHOD_COLORS["random"]}
