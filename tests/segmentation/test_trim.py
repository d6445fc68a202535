"""A segmentor is trimmed by its mean IoU, image by image."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ean_core.deploy.mean_mask import find_calls
from ean_core.inference.loaded_model import load_file
from ean_core.io.records import read_record
from ean_core.pipeline.trim.metric import metric_value
from segmentation.config import read_config
from segmentation.evaluation import score
from segmentation.inference import load_segmentor
from segmentation.segmentor_file import SegmentorSpec, save_segmentor
from segmentation.trim import SegmentorTrim, split_images
from tests.conftest import Script
from tests.segmentation.conftest import SMALL, TINY


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The tiny config as a file, as tools/trim.py takes no options for it."""
    path = tmp_path / "tiny.py"
    fields = read_config(SMALL, TINY).to_dict()
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in fields.items()))
    return path


def test_a_segmentor_of_a_search_is_trimmed_and_its_files_load(
    trained: Path, config: Path, tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("safetensors")
    monkeypatch.setattr("segmentation.trim.SegmentorTrim.image_shape", (3, 32, 32))
    state, data = tmp_path / "segmentor.pth", ("--data-root", trained / "data")
    spec = SegmentorSpec("resnet20", "se", scheme="001001001")
    save_segmentor(state, read_config(config), spec, trained / "run/last.pth", recipe={"part": "network"})
    config.write_text(f"{config.read_text()}model['backbone'].update(attention=None, scheme=None)\n")  # Org's
    limits = ("--max-drop", 100, "--rounds", 2, "--work-dir", "out")
    assert script("tools/trim.py", state, "--config", config, *data, *limits) == 0
    record, out = read_record(tmp_path / "out/trim.json"), tmp_path / "out"
    assert record["metrics"]["metric"]["name"] == "mIoU"
    assert sorted(record["metrics"]["folded"]) == ["layer1.2", "layer2.2", "layer3.2"]
    printed = capsys.readouterr().out
    assert re.search(r"next: python \S*segmentation/predict.py out/trimmed.py out/trimmed.safetensors PHOTO", printed)
    moved = tmp_path / "elsewhere" / "trimmed"
    shutil.move(out, moved)
    config.rename(tmp_path / "another name.py")
    assert str(tmp_path) not in (moved / "trimmed.py").read_text()
    trimmed = load_file(moved / "trimmed.safetensors", config=moved / "trimmed.py")
    assert find_calls(trimmed.network) == []
    whole = load_file(state, config=tmp_path / "another name.py")
    images = torch.randn(1, 3, 32, 32)
    assert trimmed.network(images).shape == whole.network(images).shape


def test_trimming_does_not_choose_on_images_that_were_trained_on(
    trained: Path, config: Path, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "data", tmp_path / "data")
    images = tmp_path / "data/VOCdevkit/VOC2012/JPEGImages"
    shutil.copy(images / "2007_000001.jpg", images / "2007_000500.jpg")
    state = trained / "run/last.pth"
    assert script("tools/trim.py", state, "--config", config, "--data-root", "data", "--work-dir", "out") == 2
    error = capsys.readouterr().err
    assert "2007_000500" in error
    assert "2007_000001" in error
    assert not (tmp_path / "out/trim.json").exists()


def test_areas_of_single_images_add_up_to_the_metric(trained: Path, config: Path, monkeypatch: Any) -> None:
    read = read_config(config, data_root=str(trained / "data"))
    segmentor, _ = load_segmentor(read, trained / "run/last.pth")
    table = score(read, segmentor)
    model = load_file(trained / "run/last.pth", config=config)
    everything = {"validation": list(range(3))}
    task = SegmentorTrim(model, read, segmentor, everything, {"validation": "val"}, None, {})
    areas = task.results(model.network, "validation")
    assert areas.shape == (3, 2, 2)
    assert metric_value(areas, task.metric) == pytest.approx(table["mIoU"])


def test_where_validation_and_test_are_the_same_images_one_half_chooses() -> None:
    indices, source, note = split_images({"val": "a", "test": "a"}, 7, 7)
    assert sorted(indices["validation"] + indices["test"]) == list(range(7))
    assert set(source.values()) == {"val"}
    assert "a random half of the 7" in note
    indices, source, _ = split_images({"val": "a", "test": "b"}, 7, 9)
    assert (len(indices["validation"]), len(indices["test"])) == (7, 9)
    assert source == {"validation": "val", "test": "test"}
