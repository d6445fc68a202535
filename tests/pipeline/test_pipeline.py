"""The pipeline in this process: what it writes, on digits and on ImageNet's folders, and what a mistake costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classification.job import start_job
from classification.recipe import Recipe
from ean_core import EANError
from ean_core.io.records import read_record
from ean_core.networks.network_file import ModelSpec, load_network, save_network
from ean_core.pipeline.pipeline import run_pipeline
from ean_core.search.history import read_lines
from ean_core.training.classifier import ImageClassifier
from tests.conftest import ROOT
from tests.helpers.mobile_trunk import mobile_arch
from tests.helpers.tiny_networks import trained
from tests.helpers.tiny_recipe import ean_directory
from tests.pipeline.conftest import MakeJob

__all__ = ["mobile_arch"]


@pytest.mark.usefixtures("drawn")
def test_pipeline_writes_what_it_promises(job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run_pipeline(job("run"))
    directory = tmp_path / "run"
    record = json.loads((directory / "scheme.json").read_text())
    assert (record["arch"], record["attention"], record["method"], record["seed"]) == ("resnet20", "se", "ean", 0)
    assert record["proposals"] == 16
    assert len(record["supernet_sha256"]) == 64
    lines = read_lines(directory / "history.jsonl")
    proposals = [line for line in lines if not line.final]
    assert len(proposals) == 16
    assert len(lines[0].p) == len(lines[0].bits) == 9
    assert lines[0].p_mean == pytest.approx(0.5, abs=0.05)  # the first step is drawn from an undecided controller
    assert lines[0].seconds >= 0
    assert set(lines[0].terms) == {"sparsity", "accuracy", "curiosity"}
    assert lines[0].reward == pytest.approx(lines[0].terms["sparsity"] + lines[0].terms["accuracy"])
    best = max(lines, key=lambda line: line.reward)
    assert record["best"]["reward"] == pytest.approx(best.reward, abs=1e-5)
    assert (directory / "search.png").read_bytes()[:4] == b"\x89PNG"
    summary = read_record(directory / "summary.json")
    assert [row["network"] for row in summary["metrics"]] == ["Org", "EAN"]
    assert summary["metrics"][0]["time_increment"]["value"] == 0
    assert summary["settings"]["images"] == {"train": 120, "test": 500}
    ean, content = load_network(ean_directory(directory) / "classifier.pth")
    assert str(ean.scheme) == " | ".join(record["stages"])
    assert len(content["classes"]) == 10
    printed = capsys.readouterr().out
    assert "scheme found" in printed
    assert "Org" in printed


def test_memory_format_and_compilation_reach_the_network(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both leave the result as it is within rounding, so what is checked is that they are asked for."""
    formats, compiled = [], []
    original = ImageClassifier.losses

    def watching(self, images, labels, **how):
        formats.append(
            images.is_contiguous(memory_format=torch.channels_last)
            and self.network.layer1.blocks[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
        )
        return original(self, images, labels, **how)

    monkeypatch.setattr(ImageClassifier, "losses", watching)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **kwargs: compiled.append(type(self).__name__))
    monkeypatch.setattr("ean_core.supernet.scorer.compile_stages", lambda network: compiled.append("scoring"))
    options = {f"{part}.{name}": True for part in ("train", "supernet") for name in ("channels_last", "compile")}
    run_pipeline(job("run", retrain=["org"], **options))
    assert formats
    assert all(formats)
    assert [*dict.fromkeys(compiled)] == ["BasicBlock", "scoring", "ResNet"]
    assert compiled.count("BasicBlock") == 9


def test_a_mistake_in_the_search_costs_nothing(job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(EANError, match="unknown search method 'eann'"):
        run_pipeline(job("run", **{"search.method": "eann"}), retrain=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(EANError, match="images"):
        run_pipeline(job("run", **{"data.val_per_class": 60}), retrain=False)
    run_pipeline(job("run"), retrain=False)  # the corrected command, without --resume


def draw_folders(root: Path) -> None:
    """ImageNet's layout: three classes of six training images and two others."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for name in ("n01", "n02", "n03"):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.JPEG")


def test_the_imagenet_recipe_runs_on_its_folder_layout(tmp_path: Path) -> None:
    draw_folders(tmp_path)
    recipe = Recipe.from_file(
        ROOT / "classification/configs/ean_dia_r50_imagenet.py",
        {
            "model.arch": "resnet18",
            "data.image_size": 32,
            "data.val_per_class": 2,
            "data.workers": 1,
            "supernet.epochs": 1,
            "supernet.batch_size": 4,
            "search.steps": 1,
            "train.epochs": 1,
            "train.batch_size": 4,
            "retrain": ["ean"],
        },
    )
    run_pipeline(start_job(recipe, data_root=tmp_path, directory=tmp_path / "w"))
    summary = read_record(tmp_path / "w" / "summary.json")
    assert summary["settings"]["images"] == {"train": 18, "test": 6}
    assert load_network(ean_directory(tmp_path / "w") / "classifier.pth")[1]["classes"] == ["n01", "n02", "n03"]


def test_the_recipe_for_own_photos_starts_from_weights(
    mobile_arch: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    draw_folders(tmp_path)
    save_network(tmp_path / "trunk.pth", trained(mobile_arch), ModelSpec(mobile_arch, num_classes=7))
    changes = {
        "model.arch": mobile_arch,
        "model.pretrained": str(tmp_path / "trunk.pth"),
        "data.image_size": 32,
        "data.workers": 0,
        "supernet.epochs": 2,
        "supernet.batch_size": 4,
        "search.steps": 2,
        "train.epochs": 2,
        "train.batch_size": 4,
        "retrain": ["org"],
    }
    recipe = Recipe.from_file(ROOT / "classification/configs/ean_se_lite0_images.py", changes)
    run_pipeline(start_job(recipe, data_root=tmp_path, directory=tmp_path / "w"))
    printed = capsys.readouterr().out
    assert "new attention starts neutral: the last norms of 5 blocks" in printed
    assert read_record(tmp_path / "w" / "summary.json")["metrics"][0]["network"] == "Org"
    supernet, _ = load_network(tmp_path / "w" / "supernet.pth")
    assert supernet.layer2.mean_masks is not None
