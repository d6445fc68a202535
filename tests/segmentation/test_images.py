"""Pictures and masks of all kinds in segmentation, and data that nothing can be learned from."""

from __future__ import annotations

import os
from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmseg.datasets.transforms import LoadAnnotations
from PIL import Image

from ean_core.data.read_image import read_image
from ean_core.inference.loaded_model import load_file
from ean_core.utils.errors import EANError
from segmentation import inference
from segmentation.config import build_model, read_config
from segmentation.config_checks import check_losses
from segmentation.data.masks import read_labels, read_mask, save_mask
from segmentation.data.transforms import LoadImage, LoadLabels, ResizeAtLeastOnePixel, label_table
from segmentation.data.voc import PALETTE, read_list
from segmentation.inference import Segmentor
from segmentation.job import Job
from segmentation.pictures import side_by_side
from tests.data.test_read_image import png_of
from tests.segmentation.conftest import SMALL, TINY, flags

LISTS = "ImageSets/Segmentation"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def segmentor(trained: Path) -> Segmentor:
    return Segmentor(read_config(SMALL, TINY, data_root=str(trained / "data")), trained / "run/last.pth", device="cpu")


# -- the transforms ---------------------------------------------------------------------------------------------------


def test_an_ordinary_image_is_read_as_mmcv_reads_it(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (33, 41, 3), dtype=np.uint8)
    for name, how in (("a.jpg", {}), ("b.jpg", {"progressive": True, "quality": 60}), ("c.png", {}), ("d.bmp", {})):
        Image.fromarray(pixels).save(tmp_path / name, **how)
        got = LoadImage()({"img_path": str(tmp_path / name)})
        assert np.array_equal(got["img"], mmcv.imread(str(tmp_path / name)))
        assert got["img_shape"] == got["ori_shape"] == (33, 41)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.jpg")
    assert np.array_equal(
        LoadImage()({"img_path": str(tmp_path / "gray.jpg")})["img"], mmcv.imread(str(tmp_path / "gray.jpg"))
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_with_an_orientation_is_turned_as_its_image_is(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    labels = RNG.integers(0, 5, (7, 9), dtype=np.uint8)
    Image.fromarray(labels).save(tmp_path / "m.png", exif=exif)
    Image.fromarray(labels).convert("RGB").save(tmp_path / "i.png", exif=exif)
    assert np.array_equal(read_labels(tmp_path / "m.png")[0], np.asarray(read_image(tmp_path / "i.png"))[..., 0])


@pytest.mark.parametrize("reduce_zero_label", [False, True])
@pytest.mark.parametrize("label_map", [None, {0: 0, 1: 0, 2: 1, 3: 255}])
def test_labels_are_mapped_as_mmsegmentation_maps_them(tmp_path: Path, label_map, reduce_zero_label: bool) -> None:
    labels = RNG.choice(np.uint8([0, 1, 2, 3, 20, 254, 255]), (20, 30))
    save_mask(tmp_path / "m.png", labels, PALETTE)
    given = {"seg_map_path": str(tmp_path / "m.png"), "label_map": label_map, "reduce_zero_label": reduce_zero_label}
    wanted = LoadAnnotations()({**given, "seg_fields": []})["gt_seg_map"]
    assert np.array_equal(LoadLabels()({**given, "seg_fields": []})["gt_seg_map"], wanted)
    assert np.array_equal(label_table(label_map, reduce_zero_label=reduce_zero_label)[labels], wanted)


@pytest.mark.parametrize("scale", [{"scale": (2048, 480)}, {"scale": (192, 192)}, {"scale_factor": 0.3}])
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (40, 60)])
def test_resizing_leaves_a_pixel_a_side(scale: dict, size: tuple[int, int]) -> None:
    step = ResizeAtLeastOnePixel(keep_ratio=True, **scale)
    results = {
        "img": np.zeros((*size, 3), np.uint8),
        "gt_seg_map": np.zeros(size, np.uint8),
        "seg_fields": ["gt_seg_map"],
    }
    done = step(results)
    assert done["img"].shape[:2] == done["gt_seg_map"].shape == done["img_shape"]
    assert min(done["img_shape"]) >= 1
    assert max(done["img_shape"]) <= 2048


# -- predictions ------------------------------------------------------------------------------------------------------


def kinds(folder: Path) -> list[Path]:
    """One picture in forms in which OpenCV and Pillow, left to themselves, differ."""
    pixels = RNG.integers(0, 256, (36, 45, 3), dtype=np.uint8)
    alpha = np.where(np.arange(45) < 20, 0, 255).astype(np.uint8) * np.ones((36, 1), np.uint8)
    clear, gray = np.dstack([pixels, alpha]), pixels[..., 0]
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(clear).save(folder / "clear.webp", lossless=True, exact=True)
    Image.fromarray(np.dstack([gray, alpha]), mode="LA").save(folder / "la.png")
    Image.fromarray(gray.astype(np.float32) / 255).save(folder / "float.tif")
    Image.fromarray(gray.astype(np.uint16) * 257).save(folder / "16.png")
    Image.fromarray(gray).convert("1").save(folder / "1.png")
    Image.fromarray(pixels).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(pixels).save(folder / "anim.gif")
    exif = Image.Exif()
    exif[0x0112] = 5
    Image.fromarray(pixels).save(folder / "turned.webp", exif=exif, lossless=True)
    return sorted(folder.iterdir())


def test_every_command_sees_one_picture(trained: Path, segmentor: Segmentor, tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text("\n".join(f"{name} = {value!r}" for name, value in segmentor.config.to_dict().items()))
    opened = load_file(trained / "run/last.pth", device="cpu", config=config)
    (tmp_path / "in").mkdir()
    for path in kinds(tmp_path / "in"):
        image = read_image(path)
        plain = tmp_path / "plain.png"
        image.save(plain)
        first, other = segmentor(path), segmentor(plain)
        assert np.array_equal(first.pred_sem_seg.data, other.pred_sem_seg.data), path
        assert first.pred_sem_seg.data.shape == (1, image.height, image.width)
        shown = segmentor.pipeline({"img_path": str(path)})["inputs"].flip(0)
        assert np.array_equal(opened.pixels(image), shown), path


def test_strange_files_do_not_stop_the_others(trained, script, tmp_path, capsys) -> None:
    (tmp_path / "in").mkdir()
    names = ["a.png", "$x^2$.png", "x" * 250 + ".png", "new\nline\x1b[2J.png"]
    for name, size in zip(names, [(45, 36), (3000, 1), (1, 3000), (1, 1)], strict=True):
        Image.new("RGB", size).save(tmp_path / "in" / name)
    (tmp_path / "in/torn.png").write_bytes(b"torn")
    (tmp_path / "in/b.heic").touch()
    (tmp_path / "in/gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(tmp_path / "fifo.png")
    start = ("segmentation/predict.py", SMALL, trained / "run/last.pth", "in", "fifo.png")
    assert script(*start, "--out-dir", "out", *flags()) == 1
    done = capsys.readouterr()
    assert done.err.endswith("2 of 6 images could not be read\n")
    assert "(4 images: a mask and a picture of each)" in done.out
    assert "torn.png: skipped: cannot decode the image in/torn.png" in done.out
    assert "fifo.png: skipped: fifo.png is not a regular file" in done.out
    assert r"new\nline\x1b[2J.png: " in done.out
    assert "skipped 2 files: 1 .heic (not a supported image format), 1 broken link" in done.err
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 8
    assert read_mask(tmp_path / "out/$x^2$_mask.png", [[0, 0, 0], [192, 128, 128]]).shape == (1, 3000)


def test_a_large_picture_is_shown_smaller_and_its_mask_has_its_size(segmentor, tmp_path, monkeypatch) -> None:
    pixels = RNG.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    whole = segmentor(tmp_path / "x.png").pred_sem_seg.data
    monkeypatch.setattr(segmentor, "max_pixels", 60 * 90 // 4)
    shown = []
    pipeline = segmentor.pipeline
    monkeypatch.setattr(segmentor, "pipeline", lambda given: shown.append(given["img"].shape) or pipeline(given))
    sample = segmentor(tmp_path / "x.png")
    assert shown == [(30, 45, 3)]
    assert sample.pred_sem_seg.data.shape == whole.shape == (1, 60, 90)
    monkeypatch.setattr(inference, "LONGEST", 32)
    ((_, shares),) = inference.predict(segmentor, [tmp_path / "x.png"], tmp_path / "out")
    assert sum(shares.values()) == pytest.approx(1)
    assert read_mask(tmp_path / "out/x_mask.png", segmentor.meta["palette"]).shape == (60, 90)
    with Image.open(tmp_path / "out/x.png") as picture:
        assert picture.width == 2 * 32 + 6


def test_memory_is_bounded_by_the_classes_and_the_pipeline(trained: Path, segmentor: Segmentor) -> None:
    assert segmentor.max_pixels * 2 * 4 == 2 << 30  # float32 scores of two classes
    config = segmentor.config.copy()
    config.test_dataloader.dataset.pipeline = [
        transform for transform in config.test_dataloader.dataset.pipeline if transform["type"] != "Resize"
    ]
    assert Segmentor(config, trained / "run/last.pth", device="cpu").max_pixels == 1 << 23
    assert segmentor.longest(100, 50) == 100
    wide = segmentor.longest(60_000, 30_000)
    assert wide * wide // 2 <= segmentor.max_pixels < (wide + 60) ** 2 // 2


def test_a_file_of_too_many_pixels_is_named(segmentor: Segmentor, tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png_of(14_000, 13_000))
    with pytest.raises(EANError, match=r"huge\.png has 14000x13000 pixels"):
        segmentor(tmp_path / "huge.png")


def test_class_names_of_any_script_are_written() -> None:
    masks = {"prediction": np.ones((40, 200), np.uint8)}
    image = np.zeros((40, 200, 3), np.uint8)
    pictures = [
        side_by_side(image, masks, classes=("background", name), palette=[[0, 0, 0], [9, 9, 9]])
        for name in ("\u03b1\u03b2\u03b3", "\u03b4\u03b5\u03b6", "???")
    ]
    assert len({picture.tobytes() for picture in pictures}) == 3


# -- data and configs that cannot give an answer ----------------------------------------------------------------------


def two_labels(voc: Path, value: int) -> None:
    """Masks of 0 and `value` only, in gray."""
    for path in (voc / "SegmentationClass").iterdir():
        labels = read_mask(path, PALETTE)
        Image.fromarray(np.where((labels > 0) & (labels < 255), value, 0).astype(np.uint8)).save(path)


def only_in(voc: Path, part: str) -> None:
    """No person in the masks of the other part."""
    for name in read_list(voc / LISTS / f"{'val' if part == 'train' else 'train'}.txt"):
        path = voc / f"SegmentationClass/{name}.png"
        labels = read_mask(path, PALETTE)
        save_mask(path, np.where(labels == 15, 0, labels), PALETTE)


def all_void(voc: Path) -> None:
    for path in (voc / "SegmentationClass").iterdir():
        Image.fromarray(np.full((36, 45), 255, np.uint8)).save(path)


SPOILS = {
    "0 and 255": (
        lambda voc: two_labels(voc, 255),
        "training masks have no pixel of person .*255 .ignored.*if it marks your object",
    ),
    "all 255": (
        all_void,
        "no pixel of background, person .2 of the 2 classes., only the labels 255 .ignored. 100",
    ),
    "not in training": (
        lambda voc: only_in(voc, "val"),
        "the training masks have no pixel of person .1 of the 2 classes",
    ),
    "not in validation": (lambda voc: only_in(voc, "train"), "the validation masks have no pixel of person"),
}


@pytest.mark.parametrize("spoil", list(SPOILS))
def test_a_class_without_pixels_is_refused(voc: Path, tmp_path: Path, spoil: str) -> None:
    act, says = SPOILS[spoil]
    act(voc)
    with pytest.raises(EANError, match=says):
        Job.prepare(SMALL, options=TINY, data_root=str(voc.parents[1]), directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_zero_that_is_taken_out_of_the_count_is_refused(voc: Path, tmp_path: Path) -> None:
    options = {**TINY, **{f"{part}_dataloader.dataset.reduce_zero_label": True for part in ("train", "val")}}
    with pytest.raises(EANError, match="no pixel of .*reduce_zero_label makes label 0 ignored"):
        Job.prepare(SMALL, options=options, data_root=str(voc.parents[1]), directory=tmp_path / "run")


def test_prepare_says_that_nothing_can_be_learned(voc: Path, script, capsys) -> None:
    two_labels(voc, 255)
    assert script("segmentation/prepare.py") == 0
    output = capsys.readouterr().out
    assert "warning: the train masks have no pixel of aeroplane" in output
    assert "label 255 means 'ignored'" in output


@pytest.mark.parametrize("how", ["link", "bytes"])
def test_a_validation_image_that_is_trained_on_is_refused(voc: Path, tmp_path: Path, how: str) -> None:
    train, val = (voc / f"JPEGImages/{read_list(voc / LISTS / f'{part}.txt')[0]}.jpg" for part in ("train", "val"))
    content = train.read_bytes()
    val.unlink()
    val.symlink_to(train) if how == "link" else val.write_bytes(content)
    with pytest.raises(EANError, match="1 of the 3 validation images are .*training images"):
        Job.prepare(SMALL, options=TINY, data_root=str(voc.parents[1]), directory=tmp_path / "run")


FAILS = {"type": "CrossEntropyLoss", "class_weight": [1.0, 2.0], "avg_non_ignore": True}
WEIGHTS = {
    "model.decode_head.loss_decode ": (FAILS, "class weights and avg_non_ignore=True, with which mmsegmentation fails"),
    "model.decode_head.loss_decode": (
        {"type": "CrossEntropyLoss", "class_weight": [1.0, 2.0, 3.0]},
        "has 3 class weights but the data set has 2",
    ),
    "model.decode_head.ignore_index": (
        0,
        "PSPHead's ignore_index is 0, which is a class of the data set .2 classes, 0 to 1",
    ),
    "val_evaluator.ignore_index": (1, "val_evaluator.ignore_index is 1, which is a class"),
    "model.data_preprocessor.seg_pad_val": (0, "seg_pad_val is 0, which is a class"),
}


@pytest.mark.parametrize("option", list(WEIGHTS))
def test_losses_that_do_not_fit_the_classes_are_refused(voc: Path, tmp_path: Path, option: str) -> None:
    value, says = WEIGHTS[option]
    with pytest.raises(EANError, match=says):
        Job.prepare(
            SMALL, options={**TINY, option.strip(): value}, data_root=str(voc.parents[1]), directory=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_losses_that_fit_pass() -> None:
    losses = [{"type": "CrossEntropyLoss", "class_weight": [1.0, 2.0]}, {"type": "DiceLoss", "loss_name": "loss_dice"}]
    config = read_config(SMALL, {"model.decode_head.loss_decode": losses})
    check_losses(config, build_model(config), 2)


# -- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["utf-8-sig", "utf-8", "blank lines", "windows"])
def test_lists_are_read_in_all_their_forms(voc: Path, tmp_path: Path, form: str) -> None:
    path = voc / LISTS / "train.txt"
    names = read_list(path)
    text = {"blank lines": "\n\n \n".join(names) + "\n\n", "windows": "\r\n".join(names)}.get(form, "\n".join(names))
    path.write_bytes(text.encode("utf-8-sig" if form == "utf-8-sig" else "utf-8"))
    assert read_list(path) == names
    job = Job.prepare(SMALL, options=TINY, data_root=str(voc.parents[1]), directory=tmp_path / "run")
    assert job.data["train"].pairs == len(names)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_list_in_another_encoding_gets_a_sentence(voc: Path, encoding: str) -> None:
    path = voc / LISTS / "train.txt"
    path.write_bytes("caf\u00e9\n2007_000001\n".encode(encoding))
    with pytest.raises(EANError, match=r"the list .*train\.txt is not UTF-8 text, perhaps UTF-16: save it"):
        read_list(path)
