"""Three lines: load, predict, draw."""

from __future__ import annotations

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ean_core
from ean_core import EANError
from ean_core.inference.explain.cam import grad_cam
from ean_core.inference.explain.masks import attention_masks
from ean_core.inference.loaded_model import load_file
from ean_core.inference.predictor import Predictor
from ean_core.networks.network_file import load_network
from tests.helpers.tiny_files import CLASSES, tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]
RNG = np.random.default_rng(0)


@pytest.fixture
def net(tiny_arch: str, tmp_path: Path) -> ean_core.inference.predictor.Predictor:
    """A classifier on the CPU."""
    return ean_core.load(tiny_classifier(tmp_path / "classifier.pth"), device="cpu")


def photo(height: int = 20, width: int = 26) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_notebook_shows_what_was_loaded(net: ean_core.inference.predictor.Predictor, tmp_path: Path) -> None:
    assert repr(net) == f"<Predictor {tmp_path / 'classifier.pth'}: classifier, tiny, se 3/4>"


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
        (prediction,) = net.predict(kind, topk=1)
        for guesses in many:
            assert guesses[0].index == prediction.index
            assert guesses[0].probability == pytest.approx(prediction.probability, abs=1e-5)
    assert len(net.predict(pixels, topk=99)) == 4
    assert net.predict([]) == []
    for wrong in (0, 1.5, "3", None):
        with pytest.raises(EANError, match="topk must be a whole number of at least 1"):
            net.predict(pixels, topk=wrong)
        with pytest.raises(EANError, match="batch_size must be a whole number of at least 1"):
            net.predict([pixels], batch_size=wrong)
    with pytest.raises(EANError, match=r"array float64 of shape \(4, 4\): give uint8"):
        net.predict(np.zeros((4, 4)))


def test_a_turned_photo_is_the_same_from_everywhere(
    net: ean_core.inference.predictor.Predictor, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.ascontiguousarray(np.broadcast_to(np.linspace(0, 255, 40).astype(np.uint8)[:, None, None], (40, 40, 3)))
    path = tmp_path / "turned.jpg"
    Image.fromarray(pixels).save(path, exif=exif)
    content = path.read_bytes()
    expected = net.predict(path)
    assert net.predict(np.asarray(Image.open(path))) != expected, "a network that does not see the turn shows nothing"
    with path.open("rb") as file, Image.open(path) as image, Image.open(path) as loaded:
        loaded.load()
        kinds = (image, loaded, content, bytearray(content), io.BytesIO(content), file)
        assert all(net.predict(kind) == expected for kind in kinds)
        for guesses in net.predict(list(kinds)):
            assert [guess.index for guess in guesses] == [guess.index for guess in expected]
    assert net.draw([content, io.BytesIO(content)], tmp_path / "seen.png").exists()


TEXT = io.StringIO("text")
WRONG = {
    "tensor": (
        torch.zeros(3, 8, 8),
        r"a tensor of shape \(3, 8, 8\) is neither an image nor a list of images: give a path",
    ),
    "tensor in a list": ([torch.zeros(3, 8, 8)], r"a tensor of shape \(3, 8, 8\) is not an image: give a path"),
    "None": (None, "None is (neither an|not an) image"),
    "None in a list": ([None], "None is (neither an|not an) image"),
    "number": (3, "a int is (neither an|not an) image"),
    "dictionary": ({"a": 1}, "a dict is (neither an|not an) image"),
    "list of lists": ([["a.png"]], "a list is (neither an|not an) image"),
    "empty array": (np.zeros((0, 4, 3), np.uint8), "of at least one pixel"),
    "no array": (np.array(None), "array object of shape"),
    "batch": (np.zeros((2, 4, 4, 3), np.uint8), r"of shape \(2, 4, 4, 3\)"),
    "empty image": (Image.new("RGB", (0, 4)), "the Pillow image has 0x4 pixels"),
    "text file": (TEXT, "mode 'rb'"),
    "no bytes": (b"", "cannot decode the image given as 0 bytes"),
    "no file": ("none.png", "none.png does not exist"),
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_what_is_no_image_gets_a_sentence(
    net: ean_core.inference.predictor.Predictor, tmp_path: Path, wrong: str
) -> None:
    given, says = WRONG[wrong]
    with pytest.raises(EANError, match=says):
        net.predict(given)
    with pytest.raises(EANError, match=says):
        net.draw(given, tmp_path / "seen.png")
    assert not (tmp_path / "seen.png").exists()


def test_a_pillow_image_of_a_closed_or_damaged_file_gets_a_sentence(
    net: ean_core.inference.predictor.Predictor, tmp_path: Path
) -> None:
    Image.fromarray(photo()).save(tmp_path / "x.png")
    closed = Image.open(tmp_path / "x.png")
    closed.close()
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.png").read_bytes()[:500])
    for image in (closed, Image.open(tmp_path / "cut.png")):
        with pytest.raises(EANError, match="cannot decode the image the Pillow image"):
            net.predict(image)


@pytest.mark.parametrize("target", ["cow", 4, -1, 99, True, 1.5, "-1", "\u00b2"])
def test_a_class_that_is_not_there_gets_a_sentence(
    net: ean_core.inference.predictor.Predictor, tmp_path: Path, target: object
) -> None:
    with pytest.raises(EANError, match="unknown class .*give the name of one of the 4 classes"):
        net.draw(photo(), tmp_path / "seen.png", target=target)


def test_a_class_may_be_given_by_its_number(net: ean_core.inference.predictor.Predictor, tmp_path: Path) -> None:
    pictures = []
    for target in ("ant", 0, np.int64(0), "0"):
        pictures.append(net.draw(PHOTO, tmp_path / "seen.png", target=target).read_bytes())
    assert len(set(pictures)) == 1
    for stage in ("last", 1.5, None, 3):
        with pytest.raises(EANError, match="stage"):
            net.draw(PHOTO, tmp_path / "seen.png", stage=stage)
    with pytest.raises(EANError, match="there are no images"):
        net.draw([], tmp_path / "seen.png")


PHOTO = photo()


def test_eight_threads_get_their_own_answers(net: ean_core.inference.predictor.Predictor, tmp_path: Path) -> None:
    """On one network: predictions, heatmaps, masks and pictures of eight images at a time, each as alone."""
    model, images = net.model, [photo(16, 16) for _ in range(8)]
    layer = model.trunk.stages[-1]

    def look(number: int) -> tuple[object, ...]:
        image = images[number]
        inputs = model.inputs([model.pixels(Image.fromarray(image))])
        heat, output = grad_cam(model.network, layer, inputs, [lambda logits: logits[number % 4]])
        masks = attention_masks(model.network, model.trunk, inputs)
        guesses = net.predict(image)
        return heat.tobytes(), output.numpy().tobytes(), [mask.values.numpy().tobytes() for mask in masks], guesses

    alone = [look(number) for number in range(8)]
    assert len({heat for heat, *_ in alone}) == 8
    barrier = threading.Barrier(8)

    def together(number: int) -> bool:
        barrier.wait()
        return all(look(number) == alone[number] for _ in range(15))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(together, range(8)))
    assert not any(module._forward_hooks for module in model.network.modules())
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_a_picture_never_replaces_an_image_or_a_network(
    net: ean_core.inference.predictor.Predictor, tmp_path: Path
) -> None:
    image = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(image)
    before = image.read_bytes()
    with pytest.raises(EANError, match=r"would be written over the image .*photo\.png"):
        net.draw([image], tmp_path / "photo.png")
    assert image.read_bytes() == before
    for output in (tmp_path / "classifier.pth", tmp_path, None):
        with pytest.raises(EANError, match="the picture is written as a .png file"):
            net.draw(image, output)


def test_threads_draw_their_own_pictures(net: ean_core.inference.predictor.Predictor, tmp_path: Path) -> None:
    images = [photo() for _ in range(3)]
    alone = [net.draw(image, tmp_path / "alone.png").read_bytes() for image in images]
    with ThreadPoolExecutor(3) as pool:
        drawn = pool.map(lambda number: net.draw(images[number], tmp_path / f"{number}.png").read_bytes(), range(3))
        assert list(drawn) == alone


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
    prepare = load_file(tiny_classifier(tmp_path / "c.pth", **content)).prepare
    assert (prepare.size, prepare.resize) == (16, resize)


def test_a_network_of_grey_images_takes_photos(tiny_arch: str, tmp_path: Path) -> None:
    net = ean_core.load(tiny_classifier(tmp_path / "grey.pth", in_channels=1))
    image = photo()
    assert net.predict(image) == net.predict(np.asarray(Image.fromarray(image).convert("L")))
    assert net.draw(image, tmp_path / "seen.png").exists()


def test_other_files_are_refused_by_name(tiny_arch: str, tmp_path: Path) -> None:
    with pytest.raises(EANError, match=r"best\.pth is a counter, not a classifier"):
        Predictor(load_file(tiny_counter(tmp_path / "best.pth")))
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
        with pytest.raises(EANError, match="was not loaded, since it could run code"):
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
    assert on_gpu.model.device.type == "cuda"
    pixels = photo()
    for one, other in zip(on_gpu.predict(pixels), net.predict(pixels), strict=True):
        assert one.index == other.index
        assert one.probability == pytest.approx(other.probability, abs=1e-3)
    assert on_gpu.draw(pixels, tmp_path / "seen.png").exists()
