"""Predictions: files, the project's command and mmsegmentation's own tools agree, windows, flips and scales."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from ean_core.utils.errors import EANError
from segmentation import pictures
from segmentation.backbone import EANResNet
from segmentation.config import read_config
from segmentation.data.masks import read_mask
from segmentation.evaluation import TestSettings, run_test
from segmentation.inference import Segmentor
from segmentation.pictures import side_by_side
from tests.segmentation.conftest import SMALL, TINY, flags


def tiny_config(root: Path, **more: Any) -> Config:
    return read_config(SMALL, {**TINY, **more}, data_root=str(root / "data"))


def images(root: Path) -> list[Path]:
    return sorted((root / "data/VOCdevkit/VOC2012/JPEGImages").glob("2007_0005*.jpg"))


def test_a_config_with_another_scheme_is_refused(trained):
    """Its tensors have the same names and shapes, and would give other masks."""
    other = tiny_config(trained, **{"model.backbone.scheme": "100100100"})
    with pytest.raises(
        EANError, match=r"connections 001 \| 001 \| 001, but this network has 100 \| 100 \| 100; give the"
    ):
        Segmentor(other, trained / "run/last.pth")


def test_the_command_writes_masks_and_pictures(trained, script, tmp_path, capsys):
    arguments = (SMALL, trained / "run/last.pth", images(trained)[0])
    assert script("segmentation/predict.py", *arguments, "--out-dir", "out", *flags()) == 0
    out = capsys.readouterr().out
    name = images(trained)[0].stem
    assert f"{name}.jpg: " in out
    labels = read_mask(tmp_path / f"out/{name}_mask.png", [[0, 0, 0], [192, 128, 128]])
    sample = Segmentor(tiny_config(trained), trained / "run/last.pth")(images(trained)[0])
    assert np.array_equal(labels, sample.pred_sem_seg.data[0].numpy())
    assert labels.shape == (36, 45)
    with Image.open(tmp_path / f"out/{name}.png") as picture:
        assert picture.width == 2 * 45 + 6  # image and prediction; there is no truth to show
    shutil.copy(images(trained)[1], tmp_path / f"{name}.png")
    assert script("segmentation/predict.py", *arguments, f"{name}.png", "--out-dir", "both", *flags()) == 2
    assert f"two of the images are called {name}" in capsys.readouterr().err
    assert script("segmentation/predict.py", *arguments[:2], f"{name}.png", "--out-dir", "out", *flags()) == 2
    assert f"{name}.png holds a result of image" in capsys.readouterr().err


def test_an_image_that_cannot_be_decoded_does_not_stop_the_others(trained, script, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    start = ("segmentation/predict.py", SMALL, trained / "run/last.pth")
    assert script(*start, "broken.jpg", images(trained)[0], "--out-dir", "out", *flags()) == 1
    out = capsys.readouterr().out
    assert "broken.jpg: skipped: cannot decode the image broken.jpg" in out
    assert "(1 image: a mask and a picture of each)" in out
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert script(*start, "broken.jpg", "--out-dir", "none", *flags()) == 2
    assert "cannot decode the image broken.jpg" in capsys.readouterr().err


def test_results_may_go_into_the_folder_of_the_photos(trained, script, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(images(trained)[0], tmp_path / "in/photo.jpg")
    for _ in range(2):
        arguments = (SMALL, trained / "run/last.pth", "in", "--out-dir", "in/out", *flags())
        assert script("segmentation/predict.py", *arguments) == 0
    assert sorted(path.name for path in (tmp_path / "in/out").glob("*.png")) == ["photo.png", "photo_mask.png"]


def test_a_turned_photo_is_segmented_upright_and_no_photo_is_written_over(trained, script, tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: rows of the file are columns of the scene
    (tmp_path / "in").mkdir()
    with Image.open(images(trained)[0]) as image:
        image.save(tmp_path / "in/turned.jpg", exif=exif)
    assert script("segmentation/predict.py", SMALL, trained / "run/last.pth", "in", "--out-dir", "out", *flags()) == 0
    assert read_mask(tmp_path / "out/turned_mask.png", [[0, 0, 0], [192, 128, 128]]).shape == (45, 36)
    with Image.open(tmp_path / "out/turned.png") as picture:
        assert picture.width == 2 * 36 + 6
    shutil.copy(images(trained)[0], tmp_path / "in/photo.png")
    before = (tmp_path / "in/photo.png").read_bytes()
    assert script("segmentation/predict.py", SMALL, trained / "run/last.pth", "in", "--out-dir", "in", *flags()) == 2
    assert "would be written over the image in/photo.png" in capsys.readouterr().err
    assert (tmp_path / "in/photo.png").read_bytes() == before
    options = ("--device", "toaster", "--out-dir", "out", *flags())
    assert script("segmentation/predict.py", SMALL, trained / "run/last.pth", "in", *options) == 2
    assert "--device toaster cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("config", "does not fit the config"),
        ("checkpoint", "is not the state of a run"),
        ("damaged", "cannot decode the image"),
        ("missing", "does not exist"),
        ("text", "cannot decode the image"),
        ("icon", "of an unsupported format"),
    ],
)
def test_mistakes_get_a_sentence(trained, script, tmp_path, capsys, what, says):
    files = {name: tmp_path / f"x.{name}" for name in ("jpg", "pth", "txt", "ico")}
    files["jpg"].write_bytes(images(trained)[0].read_bytes()[: 200 if what == "damaged" else None])
    files["txt"].write_text("x")
    Image.new("RGB", (32, 32)).save(files["ico"])
    torch.save({"a": 1}, files["pth"])
    checkpoint = files["pth"] if what == "checkpoint" else trained / "run/last.pth"
    image = {"missing": tmp_path / "no.jpg", "text": files["txt"], "icon": files["ico"]}.get(what, files["jpg"])
    options = flags(model__decode_head__channels=16) if what == "config" else flags()
    assert script("segmentation/predict.py", SMALL, checkpoint, image, "--out-dir", "out", *options) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert says in error[0]
    assert not (tmp_path / "out").exists()


def test_mmsegmentations_own_inference_gives_the_same(trained, tmp_path):
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    config = tiny_config(trained).to_dict()
    (tmp_path / "tiny.py").write_text("".join(f"{name} = {value!r}\n" for name, value in config.items()))
    path, checkpoint = str(images(trained)[1]), str(trained / "run/last.pth")
    wanted = Segmentor(tiny_config(trained), checkpoint)(path).pred_sem_seg.data[0]
    model = init_model(str(tmp_path / "tiny.py"), checkpoint, device="cpu")
    assert model.dataset_meta["classes"] == ("background", "person")
    assert torch.equal(inference_model(model, path).pred_sem_seg.data[0], wanted)
    inferencer = MMSegInferencer(str(tmp_path / "tiny.py"), checkpoint, device="cpu", scope="mmseg")
    assert np.array_equal(inferencer(path, show=False)["predictions"], wanted.numpy())


def test_the_test_command_repeats_the_runs_last_validation(trained, script, tmp_path, capsys):
    wanted = json.loads((trained / "run/result.json").read_text())["metrics"]["last"]
    arguments = ("--data-root", trained / "data", "--out-dir", tmp_path, *flags())
    assert script("tools/test.py", SMALL, trained / "run/last.pth", *arguments) == 0
    done = capsys.readouterr()
    assert "person" in done.out
    assert "mmengine" not in done.out + done.err, "its table says the same in another form"
    record = json.loads((tmp_path / "test.json").read_text())
    assert record["metrics"] == wanted
    assert record["settings"]["data"]["images"] == 3
    assert script("tools/test.py", SMALL, trained / "run/last.pth", *arguments, "--tta") == 2
    assert "test.json holds a result of" in capsys.readouterr().err
    assert json.loads((tmp_path / "test.json").read_text()) == record


def test_a_window_larger_than_the_images_is_the_whole_image(trained, tmp_path, monkeypatch):
    shapes, forward = [], EANResNet.forward
    monkeypatch.setattr(EANResNet, "forward", lambda self, x: shapes.append(tuple(x.shape[-2:])) or forward(self, x))
    shutil.copy(trained / "run/last.pth", tmp_path)
    root = str(trained / "data")

    def table(**how: Any) -> Any:
        return run_test(
            SMALL, tmp_path / "last.pth", TestSettings(**how), options=TINY, data_root=root, out=tmp_path / str(how)
        )

    whole = table()
    assert shapes == [(32, 40)] * 3
    assert table(slide=64) == whole
    shapes.clear()
    table(slide=16)
    assert shapes == [(16, 16)] * 3 * 3 * 4  # 3 images, windows every 10 pixels


@pytest.mark.parametrize("change", [{"test_evaluator.type": "IoUMetric"}, {"test_evaluator": [{"type": "ClassIoU"}]}])
def test_another_projects_evaluator_is_refused_before_testing(trained, change: dict[str, Any]) -> None:
    where = (SMALL, trained / "run/last.pth", TestSettings())
    with pytest.raises(EANError, match="test_evaluator ClassIoU"):
        run_test(*where, options={**TINY, **change}, data_root=str(trained / "data"))


def test_flips_and_scales_average_the_probabilities(trained):
    from mmengine.dataset import pseudo_collate
    from mmengine.runner import Runner

    from segmentation.evaluation import wrap_tta
    from segmentation.inference import load_segmentor

    config = tiny_config(trained)
    model, _ = load_segmentor(config, trained / "run/last.pth")
    sides = (32, 40, 48)
    for step, side in zip(config.tta_pipeline[1]["transforms"][0], sides, strict=True):
        step["scale"] = (side, side)
    tta = wrap_tta(config, model)
    loader = Runner.build_dataloader(config.test_dataloader, seed=0)
    with torch.no_grad():
        sample = tta.test_step(next(iter(loader)))[0]
    total = torch.zeros(2, 36, 45)
    for side in sides:
        plain = tiny_config(trained)
        plain.test_dataloader.dataset.pipeline[1].scale = (side, side)
        item = Runner.build_dataloader(plain.test_dataloader, seed=0).dataset[0]
        for flip in (False, True):
            pixels = item["inputs"].flip(-1) if flip else item["inputs"]
            data_sample = item["data_samples"].clone()
            data_sample.set_metainfo({"flip": False, "flip_direction": None})
            with torch.no_grad():
                batch = pseudo_collate([{"inputs": pixels, "data_samples": data_sample}])
                logits = model.test_step(batch)[0].seg_logits.data
            total += (logits.flip(-1) if flip else logits).softmax(0)
    wanted = total.argmax(0)
    assert (sample.pred_sem_seg.data.squeeze(0) == wanted).float().mean() > 0.995  # ties of rounding apart
    assert sample.gt_sem_seg.data.shape[-2:] == (36, 45)


def test_averaging_over_views_without_a_pipeline_for_them_gets_a_sentence(trained, script, capsys, monkeypatch):
    from segmentation import evaluation

    real = evaluation.read_config

    def without(*arguments: Any, **options: Any) -> Config:
        config = real(*arguments, **options)
        config._cfg_dict.pop("tta_pipeline")
        return config

    monkeypatch.setattr(evaluation, "read_config", without)
    data = ("--data-root", trained / "data")
    assert script("tools/test.py", SMALL, trained / "run/last.pth", "--tta", *data, *flags()) == 2
    assert "no tta_pipeline" in capsys.readouterr().err


def test_the_legend_names_the_pixels_that_are_not_counted(monkeypatch):
    names = []
    monkeypatch.setattr(pictures, "legend", lambda width, entries: names.append(entries) or np.zeros((1, width, 3)))
    image = np.zeros((4, 4, 3), np.uint8)
    mask = np.zeros((4, 4), np.uint8)
    for label in (1, 255):
        mask[0, 0] = label
        side_by_side(image, {"truth": mask}, classes=("background", "person"), palette=[[0, 0, 0], [9, 9, 9]])
    assert [entries[-1][0] for entries in names] == ["person", "ignored"]
