"""Images that are in two parts of a data set."""

from __future__ import annotations

from pathlib import Path

from ean_core.data.copies import warn_of_copies


def test_the_same_bytes_in_two_parts_are_named(tmp_path: Path) -> None:
    def files(*names: str) -> list[Path]:
        for name in names:
            (tmp_path / name).write_text(name[0])  # the first letter is the content
        return [tmp_path / name for name in names]

    parts = {"train": files("a1", "b1"), "val": files("c1", "d1"), "test": files("a2", "c2", "e1")}
    (said,) = warn_of_copies(parts, tmp_path)
    assert said.startswith("warning: 2 of the 3 images to test on are copies")
    assert "(the first: a2 is a1)" in said
    (said,) = warn_of_copies({"train": files("a1"), "val": files("a2", "b2")}, tmp_path)
    assert "1 of the 2 images to score on are copies of images to train on (the first: a2 is a1)" in said
    assert not warn_of_copies({"train": files("a1"), "val": files("b2"), "test": files("c1")}, tmp_path)
    (tmp_path / "longer").write_text("aa")
    assert not warn_of_copies({"train": files("a1"), "test": [tmp_path / "longer"]}, tmp_path)


def test_a_file_elsewhere_is_named_in_full(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).write_text("same")
    (said,) = warn_of_copies({"train": [tmp_path / "x"], "test": [str(tmp_path / "y")]}, tmp_path / "root")
    assert f"{tmp_path / 'y'} is {tmp_path / 'x'}" in said
