"""prepare.py and summary.py: the check, the augmented list, and several seeds in one record."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from ean_core.io.records import write_record
from segmentation.data.demo import draw_shapes
from segmentation.data.masks import read_mask
from segmentation.data.voc import PALETTE, VOCSegmentation

LISTS = "ImageSets/Segmentation"
LISTED = ("train", "val")


def write_mat(path: Path, labels: np.ndarray) -> None:
    """A file of SBD's form: GTcls is a 1x1 struct with Segmentation."""
    inner = np.empty((1, 1), dtype=[("Segmentation", object), ("CategoriesPresent", object)])
    inner[0, 0] = (labels, np.unique(labels))
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"GTcls": inner})


@pytest.fixture
def sbd(voc, tmp_path) -> Path:
    """SBD with masks of two more images of VOC, one of a training and one of a validation image."""
    folder = tmp_path / "benchmark/dataset"
    for name, label in (("2008_000001", 3), ("2008_000002", 20), ("2007_000001", 9), ("2007_000500", 9)):
        write_mat(folder / "cls" / f"{name}.mat", np.full((36, 45), label, np.uint8))
        if name.startswith("2008"):
            Image.new("RGB", (45, 36)).save(voc / "JPEGImages" / f"{name}.jpg")
    return folder


def test_the_check_prints_what_is_there(voc, script, capsys):
    assert script("segmentation/prepare.py") == 0
    out = capsys.readouterr().out
    assert "train: 5 pairs, VOC 2012 has 1,464" in out
    assert "val: 3 pairs, VOC 2012 has 1,449" in out
    row = next(line for line in out.splitlines() if "person" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["person", "5", "3"]
    assert "all images and masks can be read" in out
    assert "warning" not in out
    trained, scored = ((voc / f"ImageSets/Segmentation/{part}.txt").read_text().split()[0] for part in ("train", "val"))
    for folder, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        shutil.copy(voc / folder / f"{trained}.{ending}", voc / folder / f"{scored}.{ending}")
    assert script("segmentation/prepare.py") == 0
    message = f"1 of the 3 validation images are copies of training images (the first: JPEGImages/{scored}.jpg is"
    assert message in capsys.readouterr().out


def test_the_augmented_list_prefers_vocs_masks_and_leaves_val_out(voc, sbd, script, capsys):
    assert script("segmentation/prepare.py", "--sbd", sbd) == 0
    out = capsys.readouterr().out
    assert "merged: 7 training images" in out
    assert "trainaug: 7 pairs, VOC 2012 has 10,582" in out
    names = (voc / LISTS / "trainaug.txt").read_text().split()
    assert names == sorted([*(voc / LISTS / "train.txt").read_text().split(), "2008_000001", "2008_000002"])
    aug = voc / "SegmentationClassAug"
    assert np.all(read_mask(aug / "2008_000002.png", PALETTE) == 20)
    own = read_mask(voc / "SegmentationClass/2007_000001.png", PALETTE)
    assert np.array_equal(read_mask(aug / "2007_000001.png", PALETTE), own)
    prefix = {"img_path": "JPEGImages", "seg_map_path": "SegmentationClassAug"}
    pairs = VOCSegmentation(data_root=str(voc), ann_file=f"{LISTS}/trainaug.txt", data_prefix=prefix)
    assert len(pairs) == 7


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda voc, sbd: (sbd / "cls/2008_000001.mat").write_bytes(b"MATLAB"), "cannot be read as an SBD mask"),
        (lambda voc, sbd: write_mat(sbd / "cls/2008_000001.mat", np.full((36, 45), 30, np.uint8)), "has label 30"),
        (lambda voc, sbd: (voc / "JPEGImages/2008_000002.jpg").unlink(), "has no image"),
        (lambda voc, sbd: [file.unlink() for file in (sbd / "cls").iterdir()], "contains no masks"),
    ],
)
def test_masks_that_cannot_be_merged_leave_no_list(voc, sbd, script, capsys, spoil, says):
    spoil(voc, sbd)
    assert script("segmentation/prepare.py", "--sbd", sbd) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert says in error[0]
    assert not (voc / LISTS / "trainaug.txt").exists()


def test_the_demo_is_drawn_and_checked(tmp_path, script, capsys, monkeypatch):
    monkeypatch.setattr("segmentation.data.demo.draw_shapes", partial(draw_shapes, train=3, val=2))
    assert script("segmentation/prepare.py", "--demo") == 0
    out = capsys.readouterr().out
    assert "triangle" in out
    assert "VOC 2012 has" not in out
    assert (tmp_path / "data/voc_demo/ImageSets/Segmentation/val.txt").is_file()


def test_flags_that_do_not_go_together(voc, script, capsys):
    assert script("segmentation/prepare.py", "--download") == 2
    assert "already exists" in capsys.readouterr().err
    assert script("segmentation/prepare.py", "--demo", "--sbd", "x") == 2
    assert "leave out" in capsys.readouterr().err


def test_the_download_is_torchvisions_and_a_failure_is_a_sentence(tmp_path, script, capsys, monkeypatch):
    seen = []

    def refuse(root: str, **arguments: Any) -> None:
        seen.append((root, arguments))
        raise RuntimeError("no network here")

    monkeypatch.setattr("torchvision.datasets.VOCSegmentation", refuse)
    assert script("segmentation/prepare.py", "--download") == 2
    assert "no network here" in capsys.readouterr().err
    assert seen == [("data", {"year": "2012", "image_set": "train", "download": True})]


# -- summary ----------------------------------------------------------------------------------------------------------


def write_run(directory: Path, network: str, *, seed: int, weights: str | None, miou: float, **more: Any) -> Path:
    """A result.json as a run writes it."""
    table = {"mIoU": miou, "mAcc": miou + 1, "aAcc": 90.0, "images": 3}
    table["classes"] = [{"class": "background", "IoU": 90.0, "Acc": 95.0}, {"class": "person", "IoU": miou, "Acc": 1.0}]
    data = {part: {"images": 3, "fingerprint": part, "root": "/home/me/data/VOCdevkit/VOC2012"} for part in LISTED}
    settings = {"title": "t", "note": None, "head": "PSPHead", "iterations": 4, "batch_size": 2, "optim_wrapper": {}}
    settings |= {"crop": [32, 32], "processes": 1, "data": data, "seed": seed, "weights": weights}
    settings |= {"weights_sha256": None, "backbone": {"arch": "resnet20", "scheme": None}, **more}
    metrics = {"network": network, "last": table, "best_of_validations": {"iteration": 2, "mIoU": miou + 2}}
    metrics |= {"parameters": 10, "backbone_parameters": 5, "seconds": 1.0}
    write_record(directory / "result.json", kind="segmentation-run", settings=settings, metrics=metrics)
    return directory


def test_seeds_become_means_and_deviations(tmp_path, script, capsys):
    runs = [
        write_run(tmp_path / f"{network}{seed}{weights}", network, seed=seed, weights=weights, miou=miou)
        for network, seed, weights, miou in (
            ("EAN-SE", 0, "a/b/c.pth", 60.0),
            ("EAN-SE", 1, "a/b/d.pth", 64.0),
            ("Org", 1, None, 50.0),
            ("Org", 0, "a/b/e.pth", 55.0),
        )
        for weights in [weights and weights.replace("/", "_")]
    ]
    for number, (name, size) in enumerate({"a_000004": (9, 5), "b_000004": (7, 6), "a_000002": (50, 50)}.items()):
        (runs[0] / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", size, (100 * number, 0, 0)).save(runs[0] / f"pictures/{name}.png")
    assert script("segmentation/summary.py", *runs, "--output", "out.json") == 0
    out = capsys.readouterr().out
    assert "62.00 ± 2.83" in out
    with Image.open(tmp_path / "out.predictions.jpg") as sheet:
        assert sheet.size == (9, 11)  # of the last validation, under each other
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["kind"] == "segmentation"
    rows = [(row["network"], row["pretrained"], row["seeds"], row["mIoU"]["values"]) for row in record["metrics"]]
    assert rows == [("Org", True, [0], [55.0]), ("EAN-SE", True, [0, 1], [60.0, 64.0]), ("Org", False, [1], [50.0])]
    ean = record["metrics"][1]
    assert ean["mIoU"]["mean"] == 62.0
    assert ean["mIoU"]["std"] == pytest.approx(8**0.5)
    assert ean["classes"][1]["IoU"]["values"] == [60.0, 64.0]
    assert ean["best_of_validations"]["mean"] == 64.0
    assert len(record["settings"]["runs"]) == 4
    assert record["settings"]["data"]["val"]["root"] == "data/VOCdevkit/VOC2012"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 0}, "same seed twice"),
        ({"iterations": 9}, "differ in iterations"),
        ({"head": "FCN"}, "differ in head"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(tmp_path, script, capsys, change, says):
    first = write_run(tmp_path / "a", "Org", seed=0, weights=None, miou=1.0)
    second = write_run(tmp_path / "b", "Org", miou=1.0, weights=None, **{"seed": 1, **change})
    assert script("segmentation/summary.py", first, second, "--output", "out.json") == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_directories_without_a_run_are_refused(tmp_path, script, capsys):
    (tmp_path / "empty").mkdir()
    assert script("segmentation/summary.py", tmp_path / "empty", "--output", "out.json") == 2
    assert "has no result.json" in capsys.readouterr().err
    write_record(tmp_path / "empty/result.json", kind="benchmark", settings={}, metrics={})
    assert script("segmentation/summary.py", tmp_path / "empty", "--output", "out.json") == 2
    assert "kind 'benchmark'" in capsys.readouterr().err
