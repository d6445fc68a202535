"""A segmentor opened: the same input, the same logits, Grad-CAM of a class, and export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from PIL import Image

import ean_core
from ean_core import EANError
from ean_core.data.read_image import read_image
from ean_core.inference.dynamic_pool import GridPool
from ean_core.inference.explain.cam import grad_cam
from ean_core.inference.explain.gallery import explain
from ean_core.inference.explain.masks import attention_masks
from ean_core.inference.explain.targets import region_target
from ean_core.inference.export import export
from ean_core.inference.loaded_model import LoadedModel, load_file
from ean_core.networks import create_model
from ean_core.networks.pretrained import load_weights
from ean_core.networks.weights_file import read_weights
from segmentation.config import read_config
from segmentation.inference import Segmentor
from tests.conftest import ROOT
from tests.helpers.tiny_files import shake
from tests.inference.explain.helpers import reference_cam

CONFIG = ROOT / "segmentation" / "configs" / "ean_se_demo.py"
RESIZED = '_base_ = "{base}"\ntest_dataloader = dict(dataset=dict(pipeline=[dict(type="LoadImageFromFile"), '
RESIZED += 'dict(type="Resize", scale=(80, 48), keep_ratio=True), dict(type="PackSegInputs")]))\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The demo's, with test images resized."""
    path = tmp_path / "config.py"
    path.write_text(RESIZED.format(base=CONFIG))
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A last.pth as a run leaves it, with shaken weights."""
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    model = shake(MODELS.build(read_config(CONFIG).model))
    meta = {"dataset_meta": {"classes": ("background", "circle", "square", "triangle"), "palette": [[0, 0, 0]] * 4}}
    torch.save({"state_dict": model.state_dict(), "optimizer": {}, "meta": meta}, tmp_path / "last.pth")
    return tmp_path / "last.pth"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An image that does not keep its size."""
    path = tmp_path / "street.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(path)
    return path


def test_input_and_logits_are_the_segmentors(config: Path, state: Path, photo: Path) -> None:
    opened = load_file(state, config=config, device="cpu")
    sample = Segmentor(config, state, device="cpu")(photo)
    pixels = opened.pixels(read_image(photo))
    assert tuple(pixels.shape[1:]) == tuple(sample.metainfo["img_shape"][:2]) == (48, 62)
    logits = opened.outputs([pixels])[0]
    assert logits.shape == (4, 48, 62)
    back = torch.nn.functional.interpolate(logits[None], size=(70, 90), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(back, sample.seg_logits.data, rtol=1e-3, atol=1e-4)


def test_grad_cam_of_a_class(config: Path, state: Path, photo: Path, tmp_path: Path) -> None:
    opened = load_file(state, config=config, device="cpu")
    (line,) = explain([opened], [("street", read_image(photo), None)], tmp_path / "g.png", target="square").lines
    assert line.startswith("street: square, ")
    assert line.endswith("% of the pixels")
    pixels = opened.pixels(read_image(photo))
    target = opened.make_target(opened.outputs([pixels])[0], "square")
    layer, images = opened.trunk.stages[-1], opened.inputs([pixels])
    (heat,), _ = grad_cam(opened.network, layer, images, [target.value])
    np.testing.assert_allclose(heat, reference_cam(opened.network, layer, images, target.value), atol=1e-4)
    blocks = [(mask.stage, mask.block) for mask in attention_masks(opened.network, opened.trunk, images)]
    assert blocks == [(0, 2), (1, 2), (2, 2)]


def test_the_region_of_a_class() -> None:
    logits = torch.zeros(3, 2, 4)
    logits[0, 0], logits[2, 1, :2], logits[1, 1, 2:] = 5, 3, 4
    logits[2, 0] = -1
    classes = ("background", "cat", "dog")
    dog = region_target(logits, "dog", classes=classes)
    assert dog.value(logits) == 3, "the mean over the two pixels that are taken for it"
    assert dog.text(logits) == "dog, 25 % of the pixels"
    logits[1, 1, :2] = 9  # now nothing is a dog
    assert region_target(logits, "2", classes=classes).value(logits) == pytest.approx((4 * -1 + 2 * 3) / 8)
    assert region_target(logits, None, classes=classes).name == "cat", "background aside"
    assert region_target(logits, None, classes=("sky", "cat", "dog")).name == "sky"


def test_a_state_without_its_config_is_explained(state: Path, config: Path) -> None:
    with pytest.raises(EANError, match="the state for resuming a run.*--config"):
        load_file(state)
    with pytest.raises(EANError, match="does not exist: see .*segmentation/configs/"):
        load_file(state, config="none.py")
    assert isinstance(load_file(state, config=config), LoadedModel)
    config.write_text(config.read_text().replace("keep_ratio=True", "keep_ratio=False"))
    with pytest.raises(EANError, match="resizes its test images in a way that is not supported here"):
        load_file(state, config=config)


def test_onnx_for_any_size(config: Path, state: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    opened = load_file(state, config=config, device="cpu")
    report = export(opened, "onnx", tmp_path / "out")
    assert report.sizes == "any batch, any image size"
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert session.get_outputs()[0].shape[:2] == ["batch", 4]
    images = torch.randn(2, 3, 37, 90, generator=torch.Generator().manual_seed(0))  # the head's grids do not divide it
    (got,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(got, opened.network(images).numpy(), rtol=1e-3, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["kind"], metadata["scheme"], metadata["fit"]) == ("segmentor", "001 | 001 | 001", "[80, 48]")
    assert json.loads(metadata["classes"]) == ["background", "circle", "square", "triangle"]
    assert b"BatchNorm" not in report.path.read_bytes(), "batch norm was not folded"


def test_safetensors_there_and_back(config: Path, state: Path, photo: Path, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    opened = load_file(state, config=config, device="cpu")
    report = export(opened, "safetensors", tmp_path)
    assert report.difference == 0
    before, after = (Segmentor(config, path, device="cpu")(photo) for path in (state, report.path))
    assert torch.equal(before.seg_logits.data, after.seg_logits.data)
    with safetensors.safe_open(report.path, framework="np") as file:
        header = file.metadata()
        assert set(file.keys()) <= set(torch.load(state, weights_only=True)["state_dict"]), "the segmentor's own names"
    assert header["scheme"] == "001001001"
    assert json.loads(header["content"])["recipe"]["train_cfg"]["max_iters"] == 300
    with pytest.raises(EANError, match="the weights of a segmentor: give its config too"):
        load_file(report.path)
    classifier = create_model("resnet20", attention="se", scheme="001001001")
    load_report = load_weights(classifier, read_weights(report.path))
    assert set(load_report.loaded) == set(opened.trunk.state_dict())
    assert torch.equal(classifier.conv1.weight, opened.trunk.conv1.weight)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ("decode_head=dict(out_channels=1, num_classes=2)", "out_channels=1 for 2 classes"),
        (
            'decode_head=dict(in_channels=512), backbone=dict(_delete_=True, type="ResNet", depth=18)',
            "is a ResNet: this command needs an EANResNet",
        ),
    ],
    ids=["one output", "another backbone"],
)
def test_what_is_beyond_is_named(config: Path, tmp_path: Path, changes: str, sentence: str) -> None:
    register_all_modules(init_default_scope=True)
    config.write_text(f"{config.read_text()}\nmodel = dict({changes})\n")
    model = MODELS.build(read_config(config).model)
    torch.save({"state_dict": model.state_dict(), "optimizer": {}, "meta": {}}, tmp_path / "last.pth")
    with pytest.raises(EANError, match=sentence):
        load_file(tmp_path / "last.pth", config=config)


@pytest.mark.parametrize(("grid", "size"), [((2, 2), (5, 7)), ((3, 3), (8, 8)), ((6, 6), (16, 23)), ((6, 2), (4, 5))])
def test_a_grid_pool_is_the_adaptive_one(grid: tuple[int, int], size: tuple[int, int]) -> None:
    features = torch.randn(2, 3, *size)
    wanted = torch.nn.functional.adaptive_avg_pool2d(features, grid)
    torch.testing.assert_close(GridPool(grid)(features), wanted, rtol=1e-5, atol=1e-6)


def test_python_gives_the_labels_that_the_command_writes(config: Path, state: Path, photo: Path) -> None:
    net = ean_core.load(state, config=config, device="cpu")
    wanted = Segmentor(config, state, device="cpu")(photo).pred_sem_seg.data.squeeze(0).numpy()
    labels = net.predict(photo)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, wanted)
    for same in net.predict([Image.open(photo), photo.read_bytes()]):
        assert np.array_equal(same, wanted)
    assert net.classes == ("background", "circle", "square", "triangle")


def test_a_page_is_shown_the_classes_over_the_image(config: Path, state: Path, photo: Path) -> None:
    net = ean_core.load(state, config=config, device="cpu")
    found, picture = net.show(photo)
    labels, (width, height) = net.predict(photo), Image.open(photo).size
    shares = np.bincount(labels.ravel(), minlength=4) / labels.size
    assert found.startswith(f"{net.classes[shares.argmax()]} {100 * shares.max():.0f} %")
    assert picture.dtype == np.uint8
    assert picture.shape[0] > height, "the legend is below"
    assert picture.shape[1:] == (width, 3)
