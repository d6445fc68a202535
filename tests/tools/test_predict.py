"""tools/predict.py as a user calls it."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ean_core
from tests.conftest import Script
from tests.data.test_read_image import png_of
from tests.helpers.tiny_files import tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]


@pytest.fixture
def photos(tiny_arch: str, tmp_path: Path) -> Path:
    """Three photos of unlike sizes, one of which is torn, and classifier.pth beside the folder."""
    tiny_classifier(tmp_path / "classifier.pth")
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, shape in enumerate([(16, 16, 3), (40, 23, 3)]):
        pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "0_torn.png").write_bytes((folder / "1.png").read_bytes()[:300])
    return folder


def test_predictions_of_a_folder(
    photos: Path, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--topk", 2, "--json", "out/p.json", "--batch-size", 1)
    assert tool("predict", "classifier.pth", "photos", *options) == 1, "one is torn"
    done = capsys.readouterr()
    assert "skipped: cannot decode the image photos/0_torn.png" in done.err
    assert "1 of 3 images could not be read" in done.err
    report = json.loads((tmp_path / "out/p.json").read_text())
    assert report["skipped"] == ["photos/0_torn.png"]
    net = ean_core.load("classifier.pth")
    assert [entry["image"] for entry in report["images"]] == ["photos/0.png", "photos/1.png"]
    for entry in report["images"]:
        first, second = net.predict(entry["image"], topk=2)
        assert f"{entry['image']}: {first}, {second}\n" in done.out
        assert [guess["name"] for guess in entry["classes"]] == [first.name, second.name]
        assert entry["classes"][0]["probability"] == pytest.approx(first.probability, abs=1e-5)
    assert tool("predict", "classifier.pth", "photos/0.png", "photos/1.png") == 0


def test_the_next_command_is_of_the_checkpoint_and_image_that_were_taken(
    photos: Path, tool: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("ean_core.inference.shipped_models.default_model", lambda _: "classifier.pth")
    for sources in (["photos/0.png"], ["photos/0.png", "photos/1.png"], ["classifier.pth", "photos/0.png"]):
        assert tool("predict", *sources) == 0
        words = shlex.split(capsys.readouterr().out.split("next: ")[-1].replace("\\\n", ""))
        assert words[-3:] == ["photos/0.png", "--checkpoints", "classifier.pth"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.pth", "photos"], "none.pth does not exist"),
        (["classifier.pth", "none"], "none does not exist"),
        (["classifier.pth", "photos/0_torn.png"], "none of the 1 images can be read"),
        (["best.pth", "photos"], "is a counter, not a classifier"),
        (["classifier.pth", "photos", "--device", "tpu9"], "--device tpu9 cannot be used"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_mistakes_get_a_sentence(
    photos: Path, tmp_path: Path, refused: Callable[..., str], arguments: list, sentence: str
) -> None:
    tiny_counter(tmp_path / "best.pth")
    assert sentence in refused("predict", *arguments, "--json", "p.json")
    assert not (tmp_path / "p.json").exists()


def test_a_slip_does_not_write_over_a_photo(photos: Path, refused: Callable[..., str]) -> None:
    file = photos / "0.png"
    content = file.read_bytes()
    message = refused("predict", "classifier.pth", "photos/1.png", "--json", file)
    assert "--json: the file to write ends with .json, got " in message
    assert file.read_bytes() == content


def strange_files(folder: Path) -> None:
    """Photos of strange shapes and names, and files that are not photos."""
    for name, size in {
        "strip.png": (65000, 1),
        "tower.png": (1, 3000),
        "dot.png": (1, 1),
        "$x^2$.png": (30, 20),
        "new\nline\x1b[2J.png": (30, 20),
        "x" * 250 + ".png": (30, 20),
    }.items():
        Image.new("RGB", size, (90, 60, 30)).save(folder / name)
    (folder / "huge.png").write_bytes(png_of(14_000, 13_000))
    (folder / "torn\x1b]0;x.png").write_bytes(b"torn")
    os.mkfifo(folder / "fifo.jpg")
    (folder / ".ipynb_checkpoints").mkdir()
    Image.new("RGB", (9, 9)).save(folder / ".ipynb_checkpoints" / "dot-checkpoint.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop").symlink_to(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("command", ["predict", "gradcam"])
def test_strange_files_do_not_stop_the_others(
    tiny_arch: str, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    tiny_classifier(tmp_path / "classifier.pth")
    (tmp_path / "in").mkdir()
    strange_files(tmp_path / "in")
    (tmp_path / "linked").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "linked" / "far.png")
    (tmp_path / "in" / "elsewhere").symlink_to(tmp_path / "linked")
    given = {"predict": ["classifier.pth", "in"], "gradcam": ["in", "--checkpoints", "classifier.pth"]}[command]
    tracemalloc.start()
    assert tool(command, *given) == 1
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()
    done = capsys.readouterr()
    answers = [line for line in done.out.splitlines() if ".png: " in line]
    assert len(answers) == 7
    for name in ("strip.png", "tower.png", "dot.png", "$x^2$.png", r"new\nline\x1b[2J.png", "far.png"):
        assert sum(name in line for line in answers) == 1, name
    assert "the image in/huge.png has 14000x13000 pixels" in done.err
    assert r"skipped: cannot decode the image in/torn\x1b]0;x.png" in done.err
    assert "skipped 3 files: " in done.err
    for reason in ("1 broken link", "1 FIFO, device or the like", "1 link to a folder already visited"):
        assert reason in done.err
    assert "\x1b" not in done.out + done.err


def test_an_error_cannot_steer_the_terminal(tiny_arch: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    tiny_classifier(tmp_path / "classifier.pth")
    assert r"none\x1b[2J.png does not exist" in refused("predict", "classifier.pth", "none\x1b[2J.png")
    assert r"none\x1b[2J.pth" in refused("predict", "none\x1b[2J.pth", "a.png")
