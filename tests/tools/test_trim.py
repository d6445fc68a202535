"""tools/trim.py on tiny networks: what it writes, that the file loads, and what it refuses."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ean_core
from classification.task import ClassificationTask
from classification.trim import ClassifierTrim, read_images, split_images
from ean_core.deploy.mean_mask import find_calls
from ean_core.inference.loaded_model import load_file
from ean_core.io.records import read_record
from ean_core.networks.network_file import ModelSpec, save_network
from ean_core.report import report_all
from ean_core.scheme import Scheme
from tests.conftest import Script
from tests.helpers import report_records
from tests.helpers.tiny_networks import trained
from tests.helpers.tiny_recipe import start_tiny

SCHEME = "001 | 000 | 100"
TRAIN = {"epochs": 3, "batch_size": 24, "lr": 0.05, "schedule": "cosine"}


def classifier(folder: Path, *, attention: str | None = "se", **changes: Any) -> Path:
    """An untrained classifier of the digits, with two attention calls, as a training would have written it."""
    task: ClassificationTask = start_tiny(folder).task
    spec = ModelSpec("resnet20", attention, num_classes=10, in_channels=1, scheme=SCHEME if attention else None)
    network = spec.build()
    donor = trained("resnet20", attention, scheme=spec.scheme).state_dict()
    own = network.state_dict()
    network.load_state_dict({k: donor[k] if donor[k].shape == own[k].shape else own[k] for k in own})
    info = {**task.file_info(), "recipe": {"part": "network", "train": TRAIN, "seed": 0}, **changes}
    path = folder / "classifier.pth"
    save_network(path, network, spec, **info)
    return path


def test_a_classifier_is_trimmed_and_the_file_loads(tmp_path: Path, script: Script, capsys: Any) -> None:
    path = classifier(tmp_path)
    limits = ("--max-drop", 100, "--rounds", 2, "--batch-size", 2, "--val-images", 20)
    assert script("tools/trim.py", path, *limits) == 0
    out, folder = capsys.readouterr().out, tmp_path / "trim_classifier"
    record = read_record(folder / "trim.json")
    metrics, sentence = record["metrics"], record["metrics"]["sentence"]
    _, following = out.split(f"{sentence}.\n")
    assert re.match(r"next: python \S*tools/predict.py \S*trimmed.pth PHOTO.jpg\n +python \S*report.py", following)
    assert sentence.startswith("2 of 2 attention calls can be removed at a loss of ")
    assert "250 test images; chosen for a loss of at most 100 points on 20 validation images" in sentence
    assert sorted(metrics["folded"]) == ["layer1.2", "layer3.0"]
    assert list(metrics["calls"]) == ["layer1.2", "layer3.0"]
    assert (folder / "trim.png").exists()
    assert Scheme.load(folder / "scheme.json").connections == 0

    trimmed = ean_core.load(folder / "trimmed.pth").model
    assert find_calls(trimmed.network) == []
    assert not any("attention" in name for name in trimmed.network.state_dict())
    images = read_images(load_file(path), None)
    split = split_images(load_file(path), images, images.data, test_is_validation=False)
    judge = ClassifierTrim(trimmed, images, split, images.data)
    assert 100 * judge.results(trimmed.network, "test").mean() == pytest.approx(metrics["test"]["after"])
    assert not set(split.validation.tolist()) & set(split.test.tolist())

    results = report_records.new_directory(tmp_path / "results")
    shutil.copy(folder / "trim.json", results / "trim.json")
    assert f"{sentence}." in report_all(results)

    # the same measurements, another choice, and training on
    assert script("tools/trim.py", path, *limits) == 2
    assert "holds an earlier run: give --resume" in capsys.readouterr().err
    assert script("tools/trim.py", path, "--resume", *limits, "--finetune", 1) == 0
    assert read_record(folder / "trim.json")["settings"]["finetune"] == 1
    tuned = ean_core.load(folder / "trimmed.pth").model.network
    assert not torch.equal(tuned.conv1.weight, trimmed.network.conv1.weight)


def test_nothing_is_written_as_a_network_where_no_call_can_go(
    tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = classifier(tmp_path)

    def results(self: ClassifierTrim, network: nn.Module, part: str) -> np.ndarray:
        return np.arange(250) < 50 * (3 + len(find_calls(network)))

    monkeypatch.setattr(ClassifierTrim, "results", results)
    assert script("tools/trim.py", path, "--rounds", 2, "--batch-size", 1, "--work-dir", "out") == 0
    assert "None of 2 attention calls can be removed with a loss of at most 0.3 points" in capsys.readouterr().out
    assert sorted(file.suffix for file in (tmp_path / "out").glob("trim*")) == [".json", ".png"]


def test_what_cannot_be_trimmed_is_refused_in_a_sentence(tmp_path: Path, refused: Callable[..., str]) -> None:
    org = classifier(tmp_path, attention=None)
    assert "nothing to trim" in refused("trim", org)
    task = start_tiny(tmp_path).task
    other = {**task.file_info()["data"], "fingerprint": "0" * 16}
    path = classifier(tmp_path, data=other)
    assert "was trained on other images of digits" in refused("trim", path)
    path = classifier(tmp_path, classes=[f"class {k}" for k in range(10)])
    assert "has 10 classes (class 0, class 1" in refused("trim", path)
    path = classifier(tmp_path, data={"name": "own images"})
    assert "'own images', which is not a data set of this project: save it with data=" in refused("trim", path)
    path = classifier(tmp_path, data=None)
    assert "does not say which data it was trained on" in refused("trim", path)
    path = classifier(tmp_path)
    assert "--part and --annotations are for crowd counters" in refused("trim", path, "--part", "A")
    assert "holds the images that choose" in refused("trim", path, "--test-root", tmp_path)
    assert "--weights is for a timm: network" in refused("trim", path, "--weights", path)
    assert "give --data-root" in refused("trim", "timm:lcnet_035")
    without = refused("trim", "timm:tf_efficientnet_lite0", "--data-root", tmp_path)
    assert "nothing to trim: timm:tf_efficientnet_lite0 has no attention call" in without
    assert "does not exist" in refused("trim", tmp_path / "nothing.pth")
    assert not (tmp_path / "trim_classifier").exists()


def test_images_that_choose_were_held_out_from_training_or_are_said_to_be(tmp_path: Path) -> None:
    model = load_file(classifier(tmp_path))
    images = read_images(model, None)
    said = split_images(model, images, images.data, test_is_validation=True)
    assert (len(said.validation), len(said.test), said.source) == (500, 0, "test")
    other = dataclasses.replace(images.data, fingerprint="1" * 16)
    elsewhere = split_images(model, images, other, test_is_validation=False)
    assert (len(elsewhere.validation), len(elsewhere.test)) == (500, 500)
    supernet = load_file(classifier(tmp_path, recipe={"part": "supernet"}))
    held_out = split_images(supernet, images, images.data, test_is_validation=False)
    assert (len(held_out.training), len(held_out.validation), held_out.source) == (80, 40, "train")
    assert not set(held_out.training.tolist()) & set(held_out.validation.tolist())
    assert len(held_out.test) == 500


def test_a_plain_network_of_timms_is_trimmed(tmp_path: Path, script: Script, capsys: Any) -> None:
    timm = pytest.importorskip("timm")
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for number in range(2):
            for image in range(2):
                file = tmp_path / "images" / part / f"kind{number}" / f"{image}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file)
    torch.manual_seed(0)
    weights = timm.create_model("lcnet_035", num_classes=2).state_dict()
    torch.save(weights, tmp_path / "lcnet.pth")
    data = ("--data-root", tmp_path / "images", "--max-drop", 100, "--rounds", 2)
    assert script("tools/trim.py", "timm:lcnet_035", "--weights", "lcnet.pth", *data, "--work-dir", "out") == 0
    assert "2 of 2 attention calls can be removed" in capsys.readouterr().out
    trimmed = ean_core.load(tmp_path / "out/trimmed.pth").model
    assert find_calls(trimmed.network) == []
    photo = tmp_path / "images/val/kind0/0.png"
    assert len(ean_core.load(tmp_path / "out/trimmed.pth").predict(photo)) == 2
    assert script("tools/gradcam.py", photo, "--checkpoints", "out/trimmed.pth") == 2
    assert "is a plain timm:lcnet_035" in capsys.readouterr().err
    assert script("tools/export.py", "out/trimmed.pth", "--output-dir", "exported") == 2
    assert "this export needs such a network" in capsys.readouterr().err
