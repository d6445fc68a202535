"""Photos of every kind come out upright, in 8-bit RGB, and as the network's test images were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ean_core import EANError
from ean_core.data import ArraySource, FolderSource, make_loader
from ean_core.data.find_images import find_images
from ean_core.data.normalize import Normalize
from ean_core.data.read_image import read_image
from ean_core.inference.images import Preparation, read_images, write_image

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


NO_UTF8 = "caf\udce9"  # as Python gives the name of a file in Latin-1


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., 0]])
def test_a_picture_is_written_whatever_its_name(pixels: np.ndarray, tmp_path: Path) -> None:
    write_image(tmp_path / f"{NO_UTF8}.png", pixels)
    with Image.open(tmp_path / f"{NO_UTF8}.png") as image:
        assert np.array_equal(np.asarray(image), pixels)


def read(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: rows of the file are columns of the scene
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read(tmp_path / "turned.png"), np.rot90(PIXELS, k=-1))


def test_sixteen_bits_and_floats_keep_their_greys(tmp_path: Path) -> None:
    grey = PIXELS[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    np.testing.assert_array_equal(read(tmp_path / "16.png"), np.stack([grey] * 3, axis=2))
    Image.fromarray(grey.astype(np.uint16) // 2).save(tmp_path / "dark.png")
    assert read(tmp_path / "dark.png").max() <= 1, "16-bit values below 256 are nearly black"
    Image.fromarray(grey.astype(np.int32)).save(tmp_path / "int.tif")
    np.testing.assert_array_equal(read(tmp_path / "int.tif")[..., 1], grey)
    Image.fromarray((grey / 255).astype(np.float32)).save(tmp_path / "unit.tif")
    np.testing.assert_array_equal(read(tmp_path / "unit.tif")[..., 2], grey)


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    alpha = np.where(np.arange(30) < 15, 0, 255).astype(np.uint8) * np.ones((20, 1), np.uint8)
    Image.fromarray(np.dstack([PIXELS, alpha])).save(tmp_path / "rgba.png")
    got = read(tmp_path / "rgba.png")
    assert (got[:, :15] == 255).all()
    np.testing.assert_array_equal(got[:, 15:], PIXELS[:, 15:])
    palette = Image.fromarray((PIXELS[..., 0] // 128).astype(np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=0)
    got = read(tmp_path / "p.png")
    low = PIXELS[..., 0] < 128
    assert (got[low] == 255).all()
    assert (got[~low] == (40, 50, 60)).all()


@pytest.mark.parametrize("mode", ["L", "LA", "1", "CMYK", "RGBX"])
def test_other_modes_open(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode in ("CMYK", "RGBX") else "x.png")
    image = Image.fromarray(PIXELS).convert(mode)
    image.save(path)
    np.testing.assert_array_equal(read(path), np.asarray(image.convert("RGB")))


def test_unreadable_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("no image")
    images = dict(read_images(find_images([tmp_path]).files))
    assert list(images) == [tmp_path / name for name in ("a.png", "cut.png", "empty.jpg", "text.png")]
    for name in ("cut.png", "empty.jpg", "text.png"):
        assert f"cannot decode the image {tmp_path / name}" in str(images[tmp_path / name])
    assert images[tmp_path / "a.png"].size == (30, 20)
    with pytest.raises(EANError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")


def test_photos_are_found_in_folders(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "b/1.png", "a/c/3.tif", "a/note.txt", "a/.hidden.png", "top.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [str(file.relative_to(tmp_path)) for file in find_images([tmp_path]).files]
    assert names == ["a/c/3.tif", "b/1.png", "b/2.JPG", "top.png"]
    again = find_images([tmp_path / "b", tmp_path / "b/1.png", tmp_path / "a/note.txt"]).files
    assert [file.name for file in again] == ["1.png", "2.JPG", "note.txt"], "once each; what is named is taken"
    assert [file.name for file in find_images([tmp_path, tmp_path / "b"], below=False).files] == [
        "top.png",
        "1.png",
        "2.JPG",
    ]
    (tmp_path / "none").mkdir()
    with pytest.raises(EANError, match="no images in the folder"):
        find_images([tmp_path / "none"])
    with pytest.raises(EANError, match="nowhere does not exist"):
        find_images([tmp_path / "nowhere"])


def test_a_photo_becomes_what_the_test_loader_gives(tmp_path: Path) -> None:
    for number, shape in enumerate([(40, 61, 3), (70, 33, 3), (24, 24, 3)]):
        Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    files = find_images([tmp_path]).files
    source = FolderSource(tuple(map(str, files)), torch.zeros(3, dtype=torch.int64), image_size=28, resize=32)
    (batch,) = make_loader(source, None, batch_size=3, train=False, workers=0)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    prepare = Preparation(3, mean, std, size=28, resize=32)
    mine = torch.stack([prepare.pixels(read_image(file)) for file in files])
    torch.testing.assert_close(mine, batch["inputs"])
    torch.testing.assert_close(prepare.normalize(mine), Normalize(mean, std)(batch["inputs"]))
    expected = (mine[1, 2, 3, 4].item() / 255 - 0.6) / 0.4
    assert prepare.normalize(mine)[1, 2, 3, 4].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_a_small_data_set_comes_back_from_its_png(tmp_path: Path, channels: int) -> None:
    images = torch.from_numpy(RNG.integers(0, 256, (1, channels, 8, 8), dtype=np.uint8))
    (batch,) = make_loader(ArraySource(images, torch.zeros(1, dtype=torch.int64)), None, batch_size=1, train=False)
    shown = images[0].permute(1, 2, 0).numpy()
    Image.fromarray(shown[..., 0] if channels == 1 else shown).save(tmp_path / "x.png")
    prepare = Preparation(channels, (0.5,) * channels, (0.2,) * channels, size=8, resize=8)
    torch.testing.assert_close(prepare.pixels(read_image(tmp_path / "x.png"))[None], batch["inputs"])


def test_without_a_size_the_whole_photo_is_taken() -> None:
    prepare = Preparation(3, (0.0,) * 3, (1.0,) * 3)
    np.testing.assert_array_equal(prepare.pixels(Image.fromarray(PIXELS)).permute(1, 2, 0), PIXELS)
