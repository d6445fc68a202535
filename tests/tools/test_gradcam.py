"""tools/gradcam.py as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Script
from tests.helpers.tiny_files import tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]


def photo(path: Path, *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 18, 3), dtype=np.uint8)).save(path)
    return path


def test_grid_and_masks(tiny_arch: str, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_classifier(tmp_path / "org-seed0" / "classifier.pth", None)
    tiny_classifier(tmp_path / "ean-seed0" / "classifier.pth", "se", seed=1)
    photo(tmp_path / "photos" / "cat" / "a.png")
    photo(tmp_path / "photos" / "other" / "b.png", seed=1)
    (tmp_path / "photos" / "torn.jpg").write_bytes(b"torn")
    files = ["org-seed0/classifier.pth", "ean-seed0/classifier.pth"]
    assert tool("gradcam", "photos", "--checkpoints", *files, "--output", "out/grid.png", "--masks") == 1, "one is torn"
    done = capsys.readouterr()
    assert "skipped: cannot decode the image photos/torn.jpg" in done.err
    assert "a.png: cat, " in done.out, "its folder is a class: that is explained"
    assert "org-seed0/classifier.pth: no block is connected to attention" in done.out
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["grid.png", "grid_masks_ean-seed0.png"]
    assert tool("gradcam", "photos/cat", "--checkpoints", *files, "--target", "dog", "--stage", 1) == 0
    done = capsys.readouterr()
    assert done.out.count("dog, ") == 2
    assert "written: gradcam.png" in done.out


def test_images_of_one_name_are_told_apart_by_their_folders(
    tiny_arch: str, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_classifier(tmp_path / "c.pth", "se")
    for number, folder in enumerate(("cat", "dog")):
        photo(tmp_path / folder / "1.png", seed=number)
    assert tool("gradcam", "cat", "dog", "--checkpoints", "c.pth") == 0
    out = capsys.readouterr().out
    assert "cat/1.png: cat, " in out
    assert "dog/1.png: dog, " in out


def test_a_name_that_is_no_utf8_is_drawn(
    tiny_arch: str, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_classifier(tmp_path / "c.pth", "se")
    photo(tmp_path / "caf\udce9.png")
    assert tool("gradcam", "caf\udce9.png", "--checkpoints", "c.pth", "--masks") == 0
    assert r"caf\udce9.png: " in capsys.readouterr().out


def test_a_counter(tiny_arch: str, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_counter(tmp_path / "seed0" / "best.pth")
    photo(tmp_path / "crowd.jpg")
    assert tool("gradcam", "crowd.jpg", "--checkpoints", "seed0/best.pth", "--masks") == 0
    assert "crowd.jpg: count " in capsys.readouterr().out
    assert (tmp_path / "gradcam_masks_seed0.png").exists()


def test_masks_of_files_of_one_name_get_a_picture_each(tiny_arch: str, tmp_path: Path, tool: Script) -> None:
    files = [f"{run}/seed0/classifier.pth" for run in ("one", "two")]
    for number, file in enumerate(files):
        tiny_classifier(tmp_path / file, "se", seed=number)
    photo(tmp_path / "a.png")
    assert tool("gradcam", "a.png", "--checkpoints", *files, "--output", "out/grid.png", "--masks") == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["grid.png", *(f"grid_masks_{run}-seed0-classifier.pth.png" for run in ("one", "two"))]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["a.png", "--checkpoints", "c.pth", "--output", "grid.jpg"],
            "argument --output: the file to write ends with .png, got 'grid.jpg'",
        ),
        (["a.png", "--checkpoints", "none.pth"], "none.pth does not exist"),
        (["a.png", "--checkpoints", "c.pth", "--output", "a.png"], "would be written over the image a.png"),
        (["none.png", "--checkpoints", "c.pth"], "none.png does not exist"),
        (["torn.png", "--checkpoints", "c.pth"], "none of the 1 images can be read"),
        (["a.png", "--checkpoints", "c.pth", "--target", "cow"], "unknown class 'cow'"),
        (["a.png", "--checkpoints", "c.pth", "--stage", 9], "has no stage 9: choose one from 1 to 3"),
        (["a.png", "--checkpoints", "c.pth", "best.pth"], "one grid compares networks of one kind"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_mistakes_get_a_sentence(
    tiny_arch: str, tmp_path: Path, refused: Callable[..., str], arguments: list, sentence: str
) -> None:
    tiny_classifier(tmp_path / "c.pth")
    tiny_counter(tmp_path / "best.pth")
    photo(tmp_path / "a.png")
    (tmp_path / "torn.png").write_bytes(b"torn")
    before = sorted(tmp_path.iterdir())
    assert sentence in refused("gradcam", *arguments)
    assert sorted(tmp_path.iterdir()) == before, "something was written"


def test_many_images_are_limited(
    tiny_arch: str, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_classifier(tmp_path / "c.pth")
    for number in range(3):
        photo(tmp_path / "photos" / f"{number}.png", seed=number)
    assert tool("gradcam", "photos", "--checkpoints", "c.pth", "--limit", 1) == 0
    done = capsys.readouterr()
    assert "the first 1 of 3 images" in done.err
    assert "0.png: " in done.out
    assert "1.png: " not in done.out
