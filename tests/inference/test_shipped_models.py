"""Trained models that come with the project: made, listed, loaded by name, and taken by the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

import ean_core
from ean_core import EANError
from ean_core.inference.count_errors import CountErrors, EmptyScenes, RangeErrors
from ean_core.inference.loaded_model import load_file
from ean_core.inference.shipped_models import About, ShippedModel, default_model, ship
from ean_core.io.records import read_record
from ean_core.io.safe_load import load_tensors
from ean_core.io.safetensors_file import write_safetensors
from ean_core.utils import shipped_files
from tests.conftest import ROOT, Script
from tests.helpers.tiny_files import tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]

ABOUT = {
    "trained_on": "photos of crowds",
    "tested_on": "182 test images",
    "metrics": {"MAE, people": 98.25},
    "limits": "Do not use it for photos from above.",
    "license": "research only",
    "record": "results/counting.json",
}


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models, without any."""
    folder = tmp_path / "trained"
    folder.mkdir()
    monkeypatch.setattr(shipped_files, "MODELS", folder)
    return folder


def test_without_any_a_sentence_says_so(
    shipped: Path, photo: Path, script: Script, capsys: pytest.CaptureFixture
) -> None:
    assert ean_core.models() == []
    assert script("tools/models.py") == 0
    assert "no trained models come with this version" in capsys.readouterr().out
    for command, task in (("crowd_counting/predict.py", "counter"), ("tools/predict.py", "classifier")):
        assert script(command, photo) == 2
        assert f"no trained {task} comes with this version" in capsys.readouterr().err
    with pytest.raises(EANError, match="does not exist"):
        ean_core.load("counter-a")


def test_a_counter_by_name(
    tiny_arch: str, shipped: Path, photo: Path, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture
) -> None:
    file = tiny_counter(tmp_path / "best.pth")
    errors = CountErrors({"the fair": [RangeErrors(0, None, 12, 9.5, -1.0, None)]}, EmptyScenes(4, 0.5, 2.0))
    path = ship(file, "counter-a", About(task="counter", **ABOUT, count_errors=errors))
    assert path.stat().st_size < 0.8 * file.stat().st_size
    (model,) = ean_core.models()
    for part in ("counter-a: counter, tiny, se", "MAE 98.25 people on 182 test images", *ABOUT["limits"].split(". ")):
        assert part in str(model)
    for part in ("MAE 98.25 people on 182 test images", "trained on photos of crowds", ABOUT["limits"]):
        assert part in model.notice
    by_name, by_file = ean_core.load("counter-a"), ean_core.load(file)
    count = by_name.predict(photo)
    assert count == pytest.approx(by_file.predict(photo), rel=0.02)  # half precision
    assert by_name.predict([photo, Image.open(photo), photo.read_bytes()]) == pytest.approx([count] * 3)
    assert float(by_name.density(photo).sum()) == pytest.approx(count)
    with pytest.raises(EANError, match="did you mean 'counter-a'"):
        ean_core.load("counter-b")

    assert script("tools/models.py") == 0
    assert "  errors: on the test photos of the fair off by 9.5 people" in capsys.readouterr().out
    assert "(off by 9.5 on average on the 12 test photos of the fair" in by_name.show(photo)[0]
    assert script("crowd_counting/predict.py", photo) == 0
    printed = capsys.readouterr().out
    assert model.notice in printed
    assert f"photo.png: {count:.1f}" in printed
    assert "(off by 9.5 on average on the 12 test photos of the fair with 0 and more people" in printed
    (entry,) = json.loads((tmp_path / "counts" / "counts.json").read_text())
    assert entry["test_errors"]["the fair"]["mae"] == 9.5
    assert re.search(r"next: python \S*tools/gradcam.py \S*photo.png --checkpoints counter-a", printed)
    assert script("tools/gradcam.py", photo, "--checkpoints", "counter-a") == 0
    assert "--masks" in capsys.readouterr().out
    ship(tiny_counter(tmp_path / "org.pth", attention=None), "org", About(task="counter", **ABOUT))
    assert script("tools/gradcam.py", photo, "--checkpoints", "org") == 0
    assert "--masks" not in capsys.readouterr().out, "there are none to draw"
    assert script("tools/export.py", "counter-a", "--to", "safetensors", "--output-dir", "exported") == 0
    assert script("tools/predict.py", "counter-a", photo) == 2
    assert "is a counter, not a classifier" in capsys.readouterr().err


def test_a_classifier_by_name(tiny_arch: str, shipped: Path, photo: Path, tmp_path: Path, script: Script) -> None:
    file = tiny_classifier(tmp_path / "classifier.pth")
    ship(file, "ants-and-bees", About(task="classifier", **ABOUT))
    assert default_model("classifier") == "ants-and-bees"
    guesses, exact = ean_core.load("ants-and-bees").predict(photo), ean_core.load(file).predict(photo)
    assert [guess.name for guess in guesses] == [guess.name for guess in exact]
    assert script("tools/predict.py", photo, "--json", "found.json") == 0
    assert script("tools/predict.py", "ants-and-bees", photo) == 0
    net = ean_core.create_model("tiny", num_classes=2, attention="se", scheme="11 0 1", pretrained="ants-and-bees")
    assert net.fc.weight.shape == (2, 16)
    (tmp_path / "ants-and-bees").write_text("a file of this name goes first")
    with pytest.raises(EANError, match="is damaged"):
        ean_core.load(tmp_path / "ants-and-bees")


def test_a_model_must_say_what_it_is_for(tiny_arch: str, shipped: Path, tmp_path: Path) -> None:
    with pytest.raises(EANError, match="limits"):
        ship(tiny_counter(tmp_path / "best.pth"), "silent", About(task="counter", **{**ABOUT, "limits": ""}))
    assert not list(shipped.iterdir())
    write_safetensors(shipped / "bare.safetensors", {"a": torch.zeros(1)}, {"format": "x", "model": {}})
    with pytest.raises(EANError, match="bare.safetensors: about is damaged"):
        ean_core.models()


def test_a_damaged_model_comes_back_with_the_project(tiny_arch: str, shipped: Path, tmp_path: Path) -> None:
    ship(tiny_classifier(tmp_path / "classifier.pth"), "ants-and-bees", About(task="classifier", **ABOUT))
    file, mine = shipped / "ants-and-bees.safetensors", tmp_path / "mine.safetensors"
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:-4] + b"abcd"):
        file.write_bytes(content)
        mine.write_bytes(content)
        with pytest.raises(EANError, match=r"(damaged or truncated|has changed since).*: install the project again"):
            ean_core.load("ants-and-bees")
        with pytest.raises(EANError, match=r"(damaged or truncated|has changed since).*: move it away and create it"):
            ean_core.load(mine)


def test_every_model_of_this_version_is_sound() -> None:
    for model in ean_core.models():
        assert model.path.stat().st_size < 25e6
        assert model.about.record
        assert model.about.license


@pytest.mark.parametrize("model", ean_core.models(), ids=lambda model: model.name)
def test_a_shipped_model_says_what_its_record_says(model: ShippedModel) -> None:
    record = read_record(ROOT / model.about.record)
    if model.about.task == "counter":
        best = record["metrics"]["best"]
        measured = {"MAE, people": best["mae"]["mean"], "RMSE, people": best["rmse"]["mean"]}
        assert load_tensors(model.path)["model"]["arch"] == record["settings"]["model"]["arch"]
    elif model.about.task == "classifier":
        assert load_tensors(model.path)["model"]["arch"] == record["settings"]["recipe"]["model"]["arch"]
        scheme = str(load_file(model.path).trunk.scheme)
        (row,) = [row for row in record["metrics"] if row["scheme"] == scheme]
        measured = {"top-1 accuracy, %": row["top1"]["values"][0], "top-5 accuracy, %": row["top5"]["values"][0]}
    else:
        measured = {"mIoU, %": record["metrics"]["mIoU"], "pixel accuracy, %": record["metrics"]["aAcc"]}
        assert record["settings"]["config"] == Path(model.about.config).stem
    assert {name: round(value, 1) for name, value in measured.items()}.items() <= model.about.metrics.items()
    assert str(model) in map(str, ean_core.models())


def test_what_the_counter_makes_of_two_photos() -> None:
    """scikit-learn's palace and flower, which hold nobody worth counting."""
    counts = ean_core.load("counter-shanghaitech-a").predict(load_sample_images().images)
    assert counts == pytest.approx((12.8, 23.4), abs=0.2)


def test_what_the_segmentor_makes_of_a_photo() -> None:
    """scikit-learn's palace: sky above, trees and a building below it."""
    segmentor = ean_core.load("segmentor-camvid")
    labels = segmentor.predict(load_sample_images().images[0])
    shares = {name: float((labels == number).mean()) for number, name in enumerate(segmentor.classes)}
    assert {name: share for name, share in shares.items() if share > 0.1} == pytest.approx(
        {"sky": 0.44, "tree": 0.34, "building": 0.15}, abs=0.02
    )


def test_a_photo_is_segmented_without_a_checkpoint(
    photo: Path, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture
) -> None:
    for sources in ([photo], ["segmentor-camvid", photo]):
        assert script("segmentation/predict.py", *sources) == 0
        printed = capsys.readouterr().out
        assert "segmentor-camvid: mIoU 59.9 %" in printed
        assert "written: segmented/ (1 image" in printed
    for sources, sentence in (
        (["segmentor-camvid"], "there is no image to segment"),
        (["counter-shanghaitech-a", photo], "counter-shanghaitech-a is a counter, not a segmentor"),
        (["last.pth", photo], "last.pth needs the config that it was trained with"),
    ):
        assert script("segmentation/predict.py", *sources) == 2
        assert sentence in capsys.readouterr().err


def test_shipped_models_are_small() -> None:
    assert sum(model.path.stat().st_size for model in ean_core.models()) < 25e6
