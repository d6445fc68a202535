"""Own images and masks in folders: pairs, labels that are not counted, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ean_core.io.records import read_record
from ean_core.utils.errors import EANError
from segmentation.data.folders import FolderSegmentation
from segmentation.data.label_checks import check_pairs, missing_classes, pixels_per_class, skipped_files
from segmentation.job import Job
from tests.segmentation.conftest import SMALL

CLASSES = ("sky", "road", "car")
LOAD = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
PACK = {"type": "PackSegInputs"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs, with labels 0 to 2, the uncounted 3, and 255."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for folder in ("images", "labels"):
            (tmp_path / folder / part).mkdir(parents=True)
        for number, suffix in enumerate((".jpg", ".png")):
            pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            labels = np.repeat(np.array([0, 1, 2, 3, 255, 0, 1, 1], np.uint8), 2)[None].repeat(12, axis=0)
            Image.fromarray(pixels).save(tmp_path / "images" / part / f"{number}{suffix}")
            Image.fromarray(labels).save(tmp_path / "labels" / part / f"{number}.png")
    return tmp_path


def dataset(root: Path, *, ignored: tuple[int, ...] = (3,)) -> FolderSegmentation:
    return FolderSegmentation(data_root=str(root), part="train", classes=CLASSES, ignored=ignored, pipeline=LOAD)


def test_pairs_are_read_and_ignored_labels_become_255(root: Path) -> None:
    data = dataset(root)
    assert data.metainfo["classes"] == CLASSES
    assert len(data) == 2
    labels = data[0]["gt_seg_map"]
    assert labels[0].tolist() == [label for label in (0, 1, 2, 255, 255, 0, 1, 1) for _ in range(2)]
    contents = check_pairs(data)
    assert contents.pairs == 2
    assert pixels_per_class(data, contents).tolist() == [96, 144, 48]
    assert missing_classes(data, contents, part="training") == ""


def test_a_label_that_is_neither_a_class_nor_ignored_is_refused(root: Path) -> None:
    with pytest.raises(EANError, match=r"0\.png has label 3 \(24 pixels\): expected 0 to 2"):
        check_pairs(dataset(root, ignored=()))


def test_a_missing_mask_is_named(root: Path) -> None:
    (root / "labels/train/1.png").unlink()
    with pytest.raises(EANError, match=r"labels/train/1\.png does not exist, but its image does \(1 of 2 masks"):
        dataset(root)


def test_missing_and_empty_folders_are_named(root: Path) -> None:
    with pytest.raises(EANError, match="images/other is not a folder: expected images/PART/NAME.jpg"):
        FolderSegmentation(data_root=str(root), part="other", classes=CLASSES, pipeline=[])
    for file in (root / "images/train").iterdir():
        file.unlink()
    with pytest.raises(EANError, match="images/train holds no images"):
        dataset(root)


def test_two_images_of_one_mask_are_refused(root: Path) -> None:
    Image.new("RGB", (16, 12)).save(root / "images/train/0.png")
    with pytest.raises(EANError, match=r"0\.jpg and 0\.png would have the same mask"):
        dataset(root)


def test_files_that_are_not_used_are_counted(root: Path) -> None:
    assert dataset(root).skipped == ""
    (root / "images/train/1.png").rename(root / "images/train/1.heic")
    (root / "labels/train/0.png").rename(root / "labels/train/0.PNG")
    data = dataset(root)
    assert len(data) == 1
    assert data[0]["seg_map_path"].endswith("0.PNG")
    assert ".heic (not a supported image format); 1 mask without an image, such as 1.png" in data.skipped
    assert skipped_files({"train": data}) == [f"train: {data.skipped}"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"classes": "ab"}, "classes must be a list"),
        ({"classes": ["a"] * 3}, "classes must be different names"),
        ({"classes": [f"c{number}" for number in range(256)]}, "classes must be"),
        ({"ignored": [300]}, "ignored.0 must be a whole number from 0 to 255"),
        ({"ignored": [1]}, "ignored labels of no class"),
        ({"ignored": 3}, "ignored must be a list"),
        ({"data_root": None}, "data_root must be a string"),
    ],
)
def test_arguments_that_are_not_ones(root: Path, change: dict, sentence: str) -> None:
    arguments = {"data_root": str(root), "part": "train", "classes": CLASSES, "ignored": (3,), "pipeline": []}
    with pytest.raises(EANError, match=sentence):
        FolderSegmentation(**{**arguments, **change})


def test_a_segmentor_is_trained_and_recorded(root: Path, tmp_path: Path) -> None:
    """The small recipe on these folders."""
    for file in [*(root / "images/val").iterdir(), *(root / "labels/val").iterdir()]:
        file.rename(file.with_name(f"val_{file.name}"))
    classes = {"_delete_": True, "type": "FolderSegmentation", "data_root": str(root), "classes": list(CLASSES)}
    parts = {part: {**classes, "part": part, "ignored": [3], "pipeline": [*LOAD, PACK]} for part in ("train", "val")}
    options = {
        **{f"{part}_dataloader.dataset": given for part, given in parts.items()},
        "train_dataloader.batch_size": 2,
        "model.data_preprocessor.size": (16, 16),
        "model.decode_head.num_classes": 3,
        "model.decode_head.channels": 8,
        "train_cfg.max_iters": 1,
        "train_cfg.val_interval": 1,
    }
    job = Job.prepare(SMALL, options=options, directory=tmp_path / "run")
    metrics = job.run()
    assert metrics["last"]["images"] == 2
    data = read_record(tmp_path / "run/result.json")["settings"]["data"]
    assert {part: (data[part]["list"], data[part]["images"]) for part in data} == {
        "train": ("train", 2),
        "val": ("val", 2),
    }
