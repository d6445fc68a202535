"""Exported files give what the network gives, or are not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ean_core
from ean_core import EANError
from ean_core.attention import ATTENTIONS, Attention, register
from ean_core.inference.export import FORMATS, export, shapes_of
from ean_core.inference.export_tracing import deployable
from ean_core.inference.loaded_model import load_file
from ean_core.io.made_from import digest_of_files, note_outputs
from ean_core.networks.network_file import ModelSpec, load_network, save_network
from tests.helpers.mobile_trunk import mobile_arch
from tests.helpers.tiny_files import CLASSES, tiny_arch, tiny_classifier, tiny_counter
from tests.helpers.tiny_networks import trained

__all__ = ["mobile_arch", "tiny_arch"]
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")


def batch(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("attention", list(ATTENTIONS))
def test_onnx_of_every_attention(tiny_arch: str, tmp_path: Path, attention: str) -> None:
    opened = load_file(tiny_classifier(tmp_path / "ean.pth", attention), device="cpu")
    report = export(opened, "onnx", tmp_path / "out")
    assert report.path == tmp_path / "out" / "ean.onnx"
    assert report.sizes == "any batch, any image size"
    assert 0 <= report.relative < 1e-4
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["ean.onnx"]
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.shape) == ("images", ["batch", 3, "height", "width"])
    assert (logits.name, logits.shape) == ("logits", ["batch", 4])
    for shape in ((1, 3, 16, 16), (4, 3, 9, 31), (2, 3, 4, 4)):  # others than the export has checked; maps of 1x1 too
        (got,) = session.run(None, {"images": batch(*shape).numpy()})
        with torch.no_grad():
            wanted = opened.network(batch(*shape)).numpy()
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == CLASSES
    assert (json.loads(metadata["mean"]), json.loads(metadata["std"])) == ([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    assert (metadata["image_size"], metadata["resize"], metadata["channels"]) == ("16", "16", "3")
    assert metadata["least_size"] == "1"
    assert (metadata["attention"], metadata["scheme"], metadata["arch"]) == (attention, "11 | 0 | 1", "tiny")
    assert b"BatchNorm" not in report.path.read_bytes(), "batch norm was not folded"


def test_torch_export(tiny_arch: str, tmp_path: Path) -> None:
    """Of one attention: all are traced by torch.export on the way to ONNX too."""
    opened = load_file(tiny_classifier(tmp_path / "ean.pth", "dia"), device="cpu")
    report = export(opened, "torch", tmp_path)
    facts = {"facts.json": ""}
    program = torch.export.load(report.path, extra_files=facts)
    assert report.sizes == "any batch, any image size from 5x5 on"
    assert report.shapes[-2:] == ((2, 5, 5), (1, 5, 16))
    for shape in ((1, 3, 16, 16), (5, 3, 12, 23), (2, 3, 5, 5), (1, 3, 5, 40), (3, 3, 40, 5)):
        with torch.no_grad():
            torch.testing.assert_close(
                program.module()(batch(*shape)), opened.network(batch(*shape)), rtol=1e-3, atol=1e-4
            )
    metadata = json.loads(facts["facts.json"])
    assert json.loads(metadata["classes"]) == CLASSES
    assert metadata["least_size"] == "5"
    for shape in ((1, 3, 4, 4), (1, 3, 4, 16), (1, 3, 16, 1)):
        with pytest.raises(AssertionError, match=r"size\(\)\[[23]\] >= 5"):
            program.module()(batch(*shape))


def test_a_mobile_trunk(mobile_arch: str, tmp_path: Path) -> None:
    """Padded as TensorFlow does, by amounts that depend on the image's size; with attention in some blocks."""
    network = trained(mobile_arch, "dia", scheme="1 01 10")
    info = {"classes": [f"class {number}" for number in range(7)], "mean": [0.5] * 3, "std": [0.5] * 3}
    file = ean_core.save(network, tmp_path / "mobile.pth", **info, image_size=32)
    report = export(load_file(file, device="cpu"), "onnx", tmp_path / "out")
    assert report.sizes.startswith("any batch, any image size")
    run = FORMATS["onnx"].read(report.path, load_file(file, device="cpu"))
    for shape in ((1, 3, 32, 32), (4, 3, 33, 40), (3, 3, 47, 35)):  # others than the export has checked
        with torch.no_grad():
            torch.testing.assert_close(run(batch(*shape)), network(batch(*shape)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_safetensors_there_and_back(tiny_arch: str, tmp_path: Path, attention: str | None, sharing: str) -> None:
    path = tiny_classifier(tmp_path / "ean.pth", attention, sharing=sharing, scheme="01 0 1" if attention else None)
    report = export(load_file(path, device="cpu"), "safetensors", tmp_path)
    assert report.difference == 0
    (before, said), (after, again) = load_network(path), load_network(report.path)
    torch.testing.assert_close(after(batch(2, 3, 16, 16)), before(batch(2, 3, 16, 16)), rtol=0, atol=0)
    assert after.scheme == before.scheme
    assert again["model"]["pruned"]
    assert after.layer2.attention is None
    assert again["recipe"]["train"]["epochs"] == said["recipe"]["train"]["epochs"] == 1
    for name in ("format", "classes", "mean", "std", "image_shape", "data"):
        assert again[name] == said[name]
    from safetensors import safe_open

    with safe_open(report.path, framework="np") as file:  # without this project
        header = file.metadata()
        assert set(file.keys()) == set(after.state_dict())
    assert header["arch"] == "tiny"
    assert header["scheme"] == ("0101" if attention else "none")
    for one, other in zip(ean_core.load(path).predict(PHOTO), ean_core.load(report.path).predict(PHOTO), strict=True):
        assert one == other


PHOTO = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)


def test_a_counter_is_exported_to_densities(tiny_arch: str, tmp_path: Path) -> None:
    opened = load_file(tiny_counter(tmp_path / "best.pth"), device="cpu")
    report = export(opened, "onnx", tmp_path)
    session = onnxruntime.InferenceSession(report.path, providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].name == "density"
    images = batch(2, 3, 50, 37)  # padded to whole cells
    (got,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        wanted = opened.network(images).numpy()
    assert got.shape == wanted.shape == (2, 1, 13, 10)
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-6)
    weights = export(opened, "safetensors", tmp_path)
    assert weights.difference == 0
    assert load_file(weights.path).kind == "counter"


def test_a_network_of_one_image_size_says_so(tiny_arch: str, tmp_path: Path) -> None:
    class Places(Attention):
        """A weight for every position of a map of 16x16."""

        def __init__(self, channels: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(1, 1, 16, 16))

        def mask(self, residual, state):
            return self.weight.sigmoid(), state

    with patch.dict(ATTENTIONS):
        register("places")(Places)
        opened = load_file(tiny_classifier(tmp_path / "p.pth", "places", scheme="10 0 0"), device="cpu")
        report = export(opened, "torch", tmp_path)
    assert report.sizes == "any batch, images of 16x16 only"
    assert report.shapes == ((1, 16, 16), (3, 16, 16))


@pytest.mark.parametrize("error", [1e-2, float("nan")])
def test_a_file_that_differs_is_not_left(
    tiny_arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float
) -> None:
    opened = load_file(tiny_classifier(tmp_path / "ean.pth"), device="cpu")
    right = FORMATS["safetensors"]
    wrong = replace(right, read=lambda path, model: lambda images: right.read(path, model)(images) * (1 + error))
    monkeypatch.setitem(FORMATS, "safetensors", wrong)
    with pytest.raises(EANError, match="above the tolerance of 0.0001: no file was written"):
        export(opened, "safetensors", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_deployed_is_pruned_and_folded(tiny_arch: str, tmp_path: Path) -> None:
    opened = load_file(tiny_classifier(tmp_path / "ean.pth", scheme="01 0 1"), device="cpu")
    network = deployable(opened)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert network.layer2.attention is None
    assert any(isinstance(module, nn.BatchNorm2d) for module in opened.network.modules()), "the network was changed"
    counter = load_file(tiny_counter(tmp_path / "best.pth"), device="cpu")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployable(counter).modules())
    assert shapes_of(opened, any_size=True) == ((1, 16, 16), (3, 16, 16), (2, 21, 16), (5, 16, 27))


def test_mistakes_get_a_sentence(tiny_arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = load_file(tiny_classifier(tmp_path / "ean.pth"), device="cpu")
    with pytest.raises(EANError, match="unknown format 'onx'.*did you mean 'onnx'"):
        export(opened, "onx", tmp_path)
    export(opened, "safetensors", tmp_path / "kept")
    kept = export(opened, "safetensors", tmp_path / "kept").path.read_bytes()  # again, of the same checkpoint
    other = load_file(tiny_classifier(tmp_path / "other/ean.pth", seed=1), device="cpu")
    with pytest.raises(EANError, match=r"ean.safetensors holds a result of checkpoint \w+, .* another --output-dir"):
        export(other, "safetensors", tmp_path / "kept")
    assert (tmp_path / "kept/ean.safetensors").read_bytes() == kept
    path = export(opened, "safetensors", tmp_path).path
    with pytest.raises(EANError, match="would overwrite the checkpoint"):
        export(load_file(path), "safetensors", tmp_path)
    content = path.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(EANError, match=r"cut\.safetensors is damaged or truncated"):
        load_file(tmp_path / "cut.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(EANError, match="does not say which network its weights belong to"):
        load_file(tmp_path / "foreign.safetensors")
    save_network(tmp_path / "ean.pth", opened.network, ModelSpec("resnet20", "se", num_classes=4))
    with pytest.raises(EANError, match="do not fit the network"):
        load_file(tmp_path / "ean.pth")
    monkeypatch.setattr("ean_core.utils.optional_packages.find_spec", lambda name: None)
    for target in FORMATS:
        if target != "torch":
            with pytest.raises(EANError, match=r"not installed: pip install .*\[export\]"):
                export(opened, target, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_full_disk_leaves_the_old_archive(tiny_arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing into a file, PyTorch itself would end the process."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    opened = load_file(tiny_classifier(tmp_path / "ean.pth"), device="cpu")
    (tmp_path / "ean.pt2").write_bytes(b"a good one")
    note_outputs(tmp_path, {"ean.pt2": {"checkpoint": digest_of_files([tmp_path / "ean.pth"])}})
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: '.*ean.pt2'"):
        export(opened, "torch", tmp_path)
    assert (tmp_path / "ean.pt2").read_bytes() == b"a good one"
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["ean.pt2", "ean.pth"]
