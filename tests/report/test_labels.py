"""One name for a search method in every table and picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.pipeline.comparison.show import draw_all
from ean_core.report import plots_search
from ean_core.report.labels import full_name, label_of, labels_of
from ean_core.report.results import SchemeFile
from ean_core.report.run_folders import search_elements
from ean_core.report.table2 import finders_of, scheme_map
from ean_core.report.typed_rows import Mean, TrainedRow
from tests.helpers import report_records as made


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ean", "EAN"),
        ("ean:natural", "EAN (natural)"),
        ("enas:hidden=32:schemes_per_step=5", "ENAS (hidden=32, schemes_per_step=5)"),
        ("head-k", "head-k"),
        ("hsp:period=2:offset=1", "HSP (0101..)"),
        ("hsp:period=3:offset=0", "HSP (100100..)"),
        ("hsp:period=3", "HSP (period=3)"),
        ("mine:depth=2", "mine (depth=2)"),
    ],
)
def test_labels(name: str, label: str) -> None:
    assert label_of(name) == label


def test_names_as_the_command_line_has_them() -> None:
    assert full_name("ean", {"preset": "natural", "memory": 0}) == "ean:natural:memory=0"
    assert full_name("random", {}) == "random"
    assert labels_of("random, genetic:population=4, hsp") == "random, GA (population=4), HSP"
    assert labels_of("") == ""


@pytest.fixture
def legend(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts in the legends of the pictures that are saved."""
    texts: list[str] = []
    original = Figure.savefig

    def reading(self: Figure, *arguments: object, **options: object) -> None:
        texts.extend(text.get_text() for axes in self.axes for text in axes.get_legend().get_texts())
        original(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", reading)
    return texts


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (plots_search.draw_distributions, ["random", "EAN"]),
        (plots_search.draw_convergence, ["EAN"]),
    ],
)
def test_pictures_of_a_comparison_name_methods_as_tables_do(
    draw: Callable[..., Path], expected: list[str], tmp_path: Path, legend: list[str]
) -> None:
    draw(tmp_path / "a.png", read_record(made.comparison(tmp_path / "compared.json")))
    assert legend == expected


def test_the_picture_of_table_4_names_methods_as_the_table_does(tmp_path: Path, legend: list[str]) -> None:
    plots_search.draw_retrained(tmp_path / "a.png", read_record(made.retrained(tmp_path / "again.json")))
    assert legend == ["Org", "random, GA"]


def test_the_picture_of_table_2_names_methods_as_the_table_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(path: Path, record: object) -> Path:
        raise EANError("nothing to draw")

    seen: list[str] = []
    for other in ("draw_comparison", "draw_distributions", "draw_convergence"):
        monkeypatch.setattr(plots_search, other, nothing)
    monkeypatch.setattr(plots_search, "draw_schemes", lambda path, schemes, title: seen.extend(schemes))
    row = {"method": "ean:natural", "best": {"bits": "0 | 10", "reward": 1.0, "connections": 1}}
    settings = {"blocks": [1, 2], "methods": ["ean:natural"], "recipe": {"name": "tiny"}}
    record = {"settings": settings, "metrics": {"runs": [row]}}
    draw_all(record, tmp_path, published={"mine": Scheme.all_on((1, 2))})
    assert seen == ["EAN (natural)", "mine"]


def test_maps_of_schemes_name_all_their_finders(tmp_path: Path) -> None:
    scheme = Scheme.all_on((1, 2))
    scheme.save(tmp_path / "scheme.json", method="enas, head-k")
    (maps,) = search_elements(tmp_path)
    assert maps.maps[0].note == "ENAS, head-k, 3 of 3 connected"
    file = SchemeFile("mine", scheme, {"method": "enas, head-k"})
    assert scheme_map(file).note == "method ENAS, head-k, 3 of 3 connected"
    assert scheme_map(SchemeFile("mine", scheme, {})).note == "3 of 3 connected"


def test_maps_of_schemes_name_ones_own_attention_as_it_is() -> None:
    labels = {"se": "SE", "gate": "gate", "timm:eca": "timm:eca", "gate.py:Gate": "Gate"}
    scheme = Scheme.all_on((1, 2))
    notes = {name: scheme_map(SchemeFile("mine", scheme, {"attention": name})).note for name in labels}
    assert notes == {name: f"{label}, 3 of 3 connected" for name, label in labels.items()}


@pytest.mark.parametrize(
    ("methods", "finders"),
    [*(((name,), "") for name in ("org", "org-full", "share-full")), (("ean", "random"), "EAN, random")],
)
def test_networks_that_others_are_compared_with_are_found_by_no_method(methods: tuple[str, ...], finders: str) -> None:
    row = TrainedRow(Mean(90.0), 1000, 9, 9, "111 | 111 | 111", None, methods=methods)
    assert finders_of(row) == finders
