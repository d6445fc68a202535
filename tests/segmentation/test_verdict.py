"""The end of a segmentation run in words, from records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ean_core.io.records import write_record
from ean_core.utils.errors import EANError
from segmentation.data.dataset_setup import subset_note
from segmentation.data.voc import CLASSES
from segmentation.run_records import read_run
from segmentation.verdict import most_frequent_class, verdicts


def write_run(
    directory: Path, miou: float, *, network: str = "Org", seed: int = 0, iterations: int = 100, scored: bool = True
) -> Path:
    """A finished run on two images."""
    data = {"fingerprint": "f", "images": 2}
    settings = {
        "title": "t", "head": "h", "iterations": iterations, "batch_size": 2, "optim_wrapper": {}, "crop": [8, 8],
        "processes": 1, "note": None, "data": {"train": data, "val": data}, "backbone": {"scheme": network},
        "weights": None, "weights_sha256": None, "seed": seed,
    }  # fmt: skip
    scores = {
        "mIoU": miou,
        "mAcc": miou,
        "aAcc": 90.0,
        "images": 2,
        "per_image": [miou, miou + 1] if scored else [None, None],
    }
    scores["classes"] = [{"class": "background", "IoU": 90.0}, {"class": "bus", "IoU": 0.5}]
    metrics = {"network": network, "last": scores, "best_of_validations": scores, "parameters": 1, "seconds": 1.0}
    metrics |= {"backbone_parameters": 1, "most_frequent_class": {"class": "background", "mIoU": 40.0}}
    directory.mkdir(parents=True)
    write_record(directory / "result.json", kind="segmentation-run", settings=settings, metrics=metrics)
    return directory


def test_what_was_learned_is_said(tmp_path: Path) -> None:
    better, missed, alone = verdicts(write_run(tmp_path / "a", 50.0))
    assert better.startswith("The segmentor is better than calling every pixel background (mIoU 50.00 %, and 40.00 %")
    assert missed == "It hardly finds bus (IoU below 1 %)."
    assert alone.startswith("Nothing can be said about attention yet: ")
    assert verdicts(write_run(tmp_path / "other/a", 30.0))[0].startswith("The segmentor is no better than calling")
    assert verdicts(write_run(tmp_path / "same/a", 40.001))[0].startswith("The segmentor is no better than calling")


def test_runs_beside_are_compared(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f"org{seed}", 50.0 + seed, seed=seed)
    write_run(tmp_path / "longer", 99.0, network="EAN-SGE", iterations=200)  # another recipe: not compared
    one = write_run(tmp_path / "ean0", 60.0, network="EAN-SE")
    said = verdicts(one)
    assert "EAN-SE is better than Org in org0/" in said[2] or "between EAN-SE and Org in org0/" in said[2]
    assert "2 validation images" in said[2]
    assert said[3].startswith("With one seed each")
    said = verdicts(write_run(tmp_path / "ean1", 61.5, network="EAN-SE", seed=1))
    assert "+10.25 points of mIoU" in said[2]
    assert "2 seeds, p = 0.5)" in said[2]
    assert len(said) == 3
    for seed in (0, 1):
        write_run(tmp_path / f"full{seed}", 55.0 + seed, network="Share-full-SE", seed=seed)
    assert all("p = 0.5 corrected for 2 comparisons)" in sentence for sentence in verdicts(one)[2:])


def test_runs_without_a_pixel_that_counts_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path / "org", 50.0)
    said = verdicts(write_run(tmp_path / "ean", 60.0, network="EAN-SE", scored=False))
    assert said[2].startswith("Nothing can be said about attention yet: ")
    file = tmp_path / "org/result.json"
    record = json.loads(file.read_text())
    record["metrics"]["last"]["per_image"] = [50.0, "x"]
    file.write_text(json.dumps(record))
    with pytest.raises(EANError, match="result.json: metrics is damaged .*last.per_image.1 is 'x'"):
        read_run(tmp_path / "org")


def test_the_baseline_is_the_most_frequent_class() -> None:
    assert most_frequent_class([60, 40, 0], ["a", "b", "c"]) == {"class": "a", "mIoU": pytest.approx(30.0)}


def test_an_incomplete_voc_is_named_as_such() -> None:
    assert subset_note("train", 1464, CLASSES) == ""
    assert subset_note("train", 20, ("cat", "dog of mine")) == ""
    assert "train: 20 images, but VOC 2012 has 1,464: VOC is incomplete here" in subset_note("train", 20, CLASSES)
