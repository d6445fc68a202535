"""VOC's layout: what is read, what is refused with a sentence before training, and which image comes when."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ean_core.utils.errors import EANError
from segmentation.data.demo import COLORS, SIZE, VOCShapes, draw_shapes
from segmentation.data.label_checks import check_pairs
from segmentation.data.masks import read_mask, save_mask
from segmentation.data.sampling import SeededIndex, SeededSampler
from segmentation.data.voc import CLASSES, PALETTE, VOCSegmentation
from tests.segmentation.conftest import SMALL, flags

LISTS = "ImageSets/Segmentation"
NAME = "2007_000001"


def dataset(root: Path, part: str = "train", **more: object) -> VOCSegmentation:
    """A list of a tiny VOC."""
    prefix = {"img_path": "JPEGImages", "seg_map_path": "SegmentationClass"}
    return VOCSegmentation(data_root=str(root), ann_file=f"{LISTS}/{part}.txt", data_prefix=prefix, **more)


def other_palette(voc: Path) -> None:
    labels = read_mask(voc / f"SegmentationClass/{NAME}.png", PALETTE)
    save_mask(voc / f"SegmentationClass/{NAME}.png", labels, PALETTE[::-1])


def strange_label(voc: Path) -> None:
    Image.fromarray(np.full((36, 45), 30, np.uint8)).save(voc / f"SegmentationClass/{NAME}.png")


def other_size(voc: Path) -> None:
    Image.fromarray(np.zeros((45, 36), np.uint8)).save(voc / f"SegmentationClass/{NAME}.png")


def color_mask(voc: Path) -> None:
    Image.new("RGB", (45, 36)).save(voc / f"SegmentationClass/{NAME}.png")


def damage(folder: str, suffix: str):
    def act(voc: Path) -> None:
        path = voc / folder / f"{NAME}{suffix}"
        path.write_bytes(path.read_bytes()[:150])

    return act


DAMAGES = {
    "no mask": (lambda voc: (voc / f"SegmentationClass/{NAME}.png").unlink(), "the mask .* does not exist.*1 of 5"),
    "no image": (lambda voc: (voc / f"JPEGImages/{NAME}.jpg").unlink(), "the image .* does not exist"),
    "image does not decode": (damage("JPEGImages", ".jpg"), f"cannot decode the image .*{NAME}.jpg"),
    "mask does not decode": (damage("SegmentationClass", ".png"), f"cannot decode the mask .*{NAME}.png"),
    "label 30": (strange_label, f"{NAME}.png has label 30 .1620 pixels.: expected 0 to 20, and 255"),
    "mask of another size": (other_size, "has 36x45 pixels but its image has 45x36"),
    "mask of colors": (color_mask, "of mode RGB: expected labels"),
    "other palette": (other_palette, "colors other than VOC's"),
    "empty list": (lambda voc: (voc / LISTS / "train.txt").write_text("\n"), "train.txt is empty"),
    "no list": (lambda voc: (voc / LISTS / "val.txt").unlink(), "val.txt does not exist"),
    "name twice": (lambda voc: (voc / LISTS / "val.txt").write_text(f"{NAME}\n{NAME}\n"), "more than once"),
    "train in val": (
        lambda voc: (voc / LISTS / "val.txt").write_text(f"{NAME}\n"),
        "is in .*train.txt and in .*val.txt",
    ),
    "no folder": (lambda voc: (voc / "JPEGImages").rename(voc / "Images"), "JPEGImages is not a folder"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_what_is_wrong_with_the_data_is_said_before_training(voc, script, tmp_path, capsys, damage):
    import re

    spoil, says = DAMAGES[damage]
    spoil(voc)
    assert script("tools/train.py", SMALL, *flags()) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert re.search(says, error[0]), error[0]
    assert not (tmp_path / "work_dirs").exists()


def test_contents_are_counted(voc):
    contents = check_pairs(dataset(voc))
    masks = [np.asarray(Image.open(path)) for path in sorted((voc / "SegmentationClass").glob("2007_0000*.png"))]
    assert contents.pairs == len(masks) == 5
    for label in (0, 7, 15, 255):
        assert contents.pixels[label] == sum(int((mask == label).sum()) for mask in masks)
        assert contents.images[label] == sum(bool((mask == label).any()) for mask in masks)
    before = contents.fingerprint
    save_mask(voc / f"SegmentationClass/{NAME}.png", np.zeros((36, 45), np.uint8), PALETTE)
    assert check_pairs(dataset(voc)).fingerprint != before


def test_classes_that_are_not_told_apart_are_background_and_the_border_stays(voc):
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
    whole = dataset(voc, pipeline=pipeline)[0]["gt_seg_map"]
    people = dataset(voc, pipeline=pipeline, only=["person"])
    assert people.metainfo["classes"] == ("background", "person")
    assert people.metainfo["palette"] == [PALETTE[0], PALETTE[15]]
    labels = people[0]["gt_seg_map"]
    assert {0, 7, 15, 255} == set(np.unique(whole))
    wanted = np.where(whole == 255, 255, (whole == CLASSES.index("person")).astype(np.uint8))
    assert np.array_equal(labels, wanted)
    with pytest.raises(EANError, match=r"unknown class 'persn'.*'person'"):
        dataset(voc, only=["persn"])


# -- which image, and with which randomness ---------------------------------------------------------------------------


def take(sampler: SeededSampler, count: int) -> list[SeededIndex]:
    return list(itertools.islice(iter(sampler), count))


def test_an_epoch_shows_every_image_once_and_each_time_differently():
    draws = take(SeededSampler(range(7), seed=3), 21)
    for epoch in range(3):
        assert sorted(draw.index for draw in draws[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert len({draw.seed for draw in draws}) == 21
    assert take(SeededSampler(range(7), seed=3), 21) == draws
    assert take(SeededSampler(range(7), seed=4), 21) != draws


def test_a_resumed_sampler_goes_on_at_its_place():
    draws = take(SeededSampler(range(7), seed=3), 30)
    resumed = SeededSampler(range(7), seed=3)
    resumed.skip(11)
    assert take(resumed, 19) == draws[11:]


def test_processes_share_the_draws(monkeypatch):
    whole = take(SeededSampler(range(7), seed=3), 20)
    parts = []
    for rank in range(2):
        monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda rank=rank: (rank, 2))
        parts.append(take(SeededSampler(range(7), seed=3), 10))
    assert [draw for pair in zip(*parts, strict=True) for draw in pair] == whole


def test_a_draw_gives_the_same_view_whatever_was_drawn_before(voc):
    from mmengine.config import Config

    pipeline = Config.fromfile(SMALL, import_custom_modules=False).train_dataloader.dataset.pipeline
    pairs = dataset(voc, pipeline=pipeline, only=["person"])
    first = pairs[SeededIndex(2, 77)]["inputs"]
    np.random.seed(1)  # noqa: NPY002
    pairs[SeededIndex(1, 5)]
    assert torch.equal(pairs[SeededIndex(2, 77)]["inputs"], first)
    assert not torch.equal(pairs[SeededIndex(2, 78)]["inputs"], first)


# -- masks and made-up shapes -----------------------------------------------------------------------------------------


def test_masks_are_written_as_voc_has_them(tmp_path):
    labels = np.array([[0, 15, 255], [20, 1, 0]], np.uint8)
    save_mask(tmp_path / "m.png", labels, PALETTE)
    with Image.open(tmp_path / "m.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), labels)
        colors = np.asarray(image.convert("RGB"))
    assert colors[0].tolist() == [[0, 0, 0], [192, 128, 128], [224, 224, 192]]
    assert np.array_equal(read_mask(tmp_path / "m.png", PALETTE), labels)


def test_shapes_are_drawn_once_and_the_same_everywhere(tmp_path):
    for name in ("a", "b"):
        draw_shapes(tmp_path / name, train=4, val=2)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 2 * 6 + 2
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)
    assert not list(tmp_path.glob(".*"))
    shapes = VOCShapes(data_root=str(tmp_path / "a"), ann_file=f"{LISTS}/train.txt")
    contents = check_pairs(shapes)
    assert contents.pairs == 4
    assert contents.pixels.sum() == 4 * SIZE[0] * SIZE[1]
    assert contents.pixels[len(COLORS) : 255].sum() == 0
    assert contents.pixels[255] > 0


def test_whoever_comes_second_takes_the_shapes_of_the_first(tmp_path):
    draw_shapes(tmp_path / "a", train=2, val=1)
    draw_shapes(tmp_path / "a", train=2, val=1)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
