"""Three lines: load, predict, draw."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ean_core
from ean_core import EANError
from ean_core.inference.loaded_model import open_file
from ean_core.networks.checkpoint import load_network
from tests.helpers.tiny_files import CLASSES, tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]
RNG = np.random.default_rng(0)


@pytest.fixture
def net(tiny_arch: str, tmp_path: Path) -> ean_core.inference.predictor.Predictor:
    """A classifier on the CPU."""
    return ean_core.load(tiny_classifier(tmp_path / "classifier.pth"), device="cpu")


def photo(height: int = 20, width: int = 26) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_predictions_are_the_networks_softmax(net: ean_core.inference.predictor.Predictor, tmp_path: Path) -> None:
    pixels = photo(16, 16)  # the size it was trained on: nothing is resized
    network, content = load_network(tmp_path / "classifier.pth")
    mean, std = (torch.tensor(content[name]).view(3, 1, 1) for name in ("mean", "std"))
    image = (torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std
    with torch.no_grad():
        scores = network(image[None]).softmax(1)[0]
    guesses = net.predict(pixels)
    assert [guess.index for guess in guesses] == scores.argsort(descending=True).tolist()
    assert [guess.name for guess in guesses] == [CLASSES[guess.index] for guess in guesses]
    for guess in guesses:
        assert guess.probability == pytest.approx(scores[guess.index].item(), abs=1e-5)
    assert str(guesses[0]) == f"{guesses[0].name} {100 * guesses[0].probability:.1f} %"
    assert sum(guess.probability for guess in guesses) == pytest.approx(1, abs=1e-5)


def test_photos_of_all_kinds_one_and_many(net: ean_core.inference.predictor.Predictor, tmp_path: Path) -> None:
    pixels = photo()
    Image.fromarray(pixels).save(tmp_path / "x.png")
    kinds = [pixels, Image.fromarray(pixels), tmp_path / "x.png", str(tmp_path / "x.png")]
    many = net.predict(kinds * 3, topk=2, batch_size=5)
    assert len(many) == 12
    assert all(len(guesses) == 2 for guesses in many)
    for kind in kinds:
        (one,) = net.predict(kind, topk=1)
        for guesses in many:
            assert guesses[0].index == one.index
            assert guesses[0].probability == pytest.approx(one.probability, abs=1e-5)
    assert len(net.predict(pixels, topk=99)) == 4
    assert net.predict([]) == []
    with pytest.raises(EANError, match="topk and batch_size must be at least 1, got 0"):
        net.predict(pixels, topk=0)
    with pytest.raises(EANError, match=r"array float64 of shape \(4, 4\): give uint8"):
        net.predict(np.zeros((4, 4)))


def test_draw_writes_a_picture(net: ean_core.inference.predictor.Predictor, tmp_path: Path) -> None:
    assert net.draw(photo(), tmp_path / "seen.png") == tmp_path / "seen.png"
    with Image.open(tmp_path / "seen.png") as image:
        assert image.width >= 2 * 288
    with pytest.raises(EANError, match="unknown class 'cow'"):
        net.draw([photo()], tmp_path / "none.png", target="cow")
    assert not (tmp_path / "none.png").exists()


def test_a_file_without_names_gives_numbers(tiny_arch: str, tmp_path: Path) -> None:
    net = ean_core.load(tiny_classifier(tmp_path / "old.pth", classes=None))
    assert net.classes == ("0", "1", "2", "3")
    assert net.predict(photo())[0].name == str(net.predict(photo())[0].index)
    with pytest.raises(EANError, match="does not say the mean of its images"):
        ean_core.load(tiny_classifier(tmp_path / "older.pth", mean=None))


@pytest.mark.parametrize(
    ("content", "resize"),
    [({}, 16), ({"data": {"name": "folder"}}, 18), ({"data": {"name": "imagenet"}}, 18), ({"resize": 24}, 24)],
)
def test_the_crop_is_that_of_the_data(tiny_arch: str, tmp_path: Path, content: dict, resize: int) -> None:
    prepare = open_file(tiny_classifier(tmp_path / "c.pth", **content)).prepare
    assert (prepare.size, prepare.resize) == (16, resize)


def test_a_network_of_grey_images_takes_photos(tiny_arch: str, tmp_path: Path) -> None:
    net = ean_core.load(tiny_classifier(tmp_path / "grey.pth", in_channels=1))
    assert len(net.predict(photo())) == 4
    assert net.draw(photo(), tmp_path / "seen.png").exists()


def test_other_files_are_refused_by_name(tiny_arch: str, tmp_path: Path) -> None:
    with pytest.raises(EANError, match=r"best\.pth is a counter, not a classifier"):
        ean_core.load(tiny_counter(tmp_path / "best.pth"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "foreign.pth")
    with pytest.raises(EANError, match=r"foreign\.pth is another kind of file"):
        ean_core.load(tmp_path / "foreign.pth")
    torch.save({"format": "ean-future-9"}, tmp_path / "future.pth")
    with pytest.raises(EANError, match="a file of format 'ean-future-9'"):
        ean_core.load(tmp_path / "future.pth")
    with pytest.raises(EANError, match="--device cuda:99 cannot be used"):
        ean_core.load(tiny_classifier(tmp_path / "c.pth"), device="cuda:99")


def test_a_file_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for name in ("evil.pth", "evil.pt"):
        torch.save({"format": "ean-network-1", "classes": Evil()}, tmp_path / name)
        with pytest.raises(EANError, match="was not loaded, as it can run code"):
            ean_core.load(tmp_path / name)
    (tmp_path / "evil.safetensors").write_bytes((tmp_path / "evil.pth").read_bytes())  # a pickle under another name
    with pytest.raises(EANError, match=r"evil\.safetensors is damaged"):
        ean_core.load(tmp_path / "evil.safetensors")
    assert not (tmp_path / "ran").exists()


@pytest.mark.gpu
def test_on_a_gpu_as_on_the_processor(
    net: ean_core.inference.predictor.Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    on_gpu = ean_core.load(tmp_path / "classifier.pth", device="cuda")
    assert on_gpu.opened.device.type == "cuda"
    pixels = photo()
    for one, other in zip(on_gpu.predict(pixels), net.predict(pixels), strict=True):
        assert one.index == other.index
        assert one.probability == pytest.approx(other.probability, abs=1e-3)
    assert on_gpu.draw(pixels, tmp_path / "seen.png").exists()
