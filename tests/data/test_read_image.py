"""Every kind of picture comes out the same from every way to read it, and nothing else is opened."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ean_core.data import read_image as module
from ean_core.data.read_image import Picture, as_rgb, check_image, open_picture, read_image, read_size
from ean_core.utils.errors import EANError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
GRAY = PIXELS[..., 0]
ALPHA = np.where(np.arange(30) < 15, 0, 255).astype(np.uint8) * np.ones((20, 1), np.uint8)
CLEAR = np.dstack([PIXELS, ALPHA])  # the left half is transparent, with colors behind it


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def save(path: Path, pixels: np.ndarray | Image.Image, **how: object) -> Path:
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **how)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_whole_and_in_parts(tmp_path: Path, suffix: str, orientation: int) -> None:
    how = {"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}
    path = save(tmp_path / f"x.{suffix}", PIXELS, exif=exif(orientation), **how)
    with Image.open(path) as image:
        image.load()
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    got = read_image(path)
    assert np.array_equal(np.asarray(got), expected)
    assert read_size(path) == check_image(path) == got.size
    picture = open_picture(path)
    assert picture.shape == expected.shape
    assert np.array_equal(picture[3:11, 2:17], expected[3:11, 2:17])
    assert np.array_equal(np.asarray(as_rgb(Image.open(path))), expected)
    if suffix != "tif":  # Pillow turns these whatever it is asked for
        assert read_image(path, upright=False).size == (30, 20)


@pytest.mark.parametrize("kind", ["rgba.png", "rgba.webp", "rgba.tif", "la.png", "p.png", "p.gif", "rgb.png", "l.png"])
def test_what_is_transparent_is_white(tmp_path: Path, kind: str) -> None:
    path, clear = tmp_path / kind, ALPHA == 0
    if kind.startswith("rgba"):
        save(path, CLEAR, **({"lossless": True, "exact": True} if kind.endswith("webp") else {}))
        expected = PIXELS
    elif kind == "la.png":
        save(path, Image.fromarray(np.dstack([GRAY, ALPHA]), mode="LA"))
        expected = np.dstack([GRAY] * 3)
    else:
        marked = np.where(clear, 0, 7).astype(np.uint8)
        if kind.startswith("p."):
            image = Image.fromarray(marked, mode="P")
            image.putpalette([10, 20, 30] + [40, 50, 60] * 7)
            save(path, image, transparency=0)
            expected = np.broadcast_to(np.uint8([40, 50, 60]), PIXELS.shape)
        else:
            save(
                path,
                np.dstack([marked] * 3) if kind == "rgb.png" else marked,
                transparency=(0, 0, 0) if kind == "rgb.png" else 0,
            )
            expected = np.full(PIXELS.shape, 7, np.uint8)
    got = np.asarray(read_image(path))
    assert (got[clear] == 255).all()
    assert np.array_equal(got[~clear], expected[~clear])


@pytest.mark.parametrize("white", [65535, 0])
@pytest.mark.parametrize(("suffix", "order"), [("png", "<"), ("tif", "<"), ("tif", ">"), ("pgm", ">")])
def test_sixteen_bits_of_either_byte_order_are_one_picture(tmp_path: Path, suffix: str, order: str, white: int) -> None:
    values = GRAY.astype(np.uint16) // 2  # nearly black, and no reason to stretch it
    values[0, 0] = white
    path = tmp_path / f"x.{suffix}"
    if suffix == "tif" and order == ">":
        path.write_bytes(big_endian_tiff(values))
    elif suffix == "pgm":
        path.write_bytes(b"P5\n%d %d\n65535\n" % values.shape[::-1] + values.astype(">u2").tobytes())
    else:
        save(path, values)
    expected = np.rint(values / 65535 * 255).astype(np.uint8)
    assert np.array_equal(np.asarray(read_image(path))[..., 0], expected)
    assert np.asarray(read_image(path))[1:].max() <= 1


def big_endian_tiff(values: np.ndarray) -> bytes:
    """An uncompressed 16-bit TIFF in Motorola's byte order."""
    data = values.astype(">u2").tobytes()
    height, width = values.shape
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    entries = [struct.pack(">HHII", tag, 4, 1, value) for tag, value in [*tags, (279, len(data))]]
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + struct.pack(">H", 9) + b"".join(entries) + b"\0" * 4


@pytest.mark.parametrize(("scale", "top"), [(1 / 255, 1), (1.0, 255), (257.0, 65535)])
def test_floats_are_scaled_by_the_smallest_range_that_holds_them(tmp_path: Path, scale: float, top: int) -> None:
    values = GRAY.astype(np.float32) * np.float32(scale)
    values[0, :4] = (top, np.nan, np.inf, -1)
    got = np.asarray(read_image(save(tmp_path / "x.tif", values)))[..., 1]
    assert got[0, :4].tolist() == [255, 0, 255, 0]
    assert np.array_equal(got[1:], GRAY[1:])


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("1", "png"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("CMYK", "tif"),
        ("P", "gif"),
        ("I", "tif"),
        ("YCbCr", "tif"),
        ("PA", "png"),
    ],
)
def test_other_modes_are_read_as_pillow_converts_them(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(PIXELS).convert("P" if mode == "PA" else mode)
    path = save(tmp_path / f"x.{suffix}", image)
    with Image.open(path) as again:
        try:
            expected = np.asarray(again.convert("RGB"))
        except OSError as error:  # Pillow 11 cannot read the YCbCr TIFF that it writes
            pytest.skip(f"this Pillow: {error}")
    assert np.array_equal(np.asarray(read_image(path)), expected)
    assert read_image(path).mode == "RGB"
    assert check_image(path) == (30, 20)


def test_a_progressive_jpeg_and_the_first_page_of_several(tmp_path: Path) -> None:
    first, second = Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)
    assert read_image(save(tmp_path / "p.jpg", first, progressive=True)).size == (30, 20)
    for name in ("a.tif", "a.png"):
        save(tmp_path / name, first, save_all=True, append_images=[second])
        assert np.array_equal(np.asarray(read_image(tmp_path / name)), PIXELS)


def test_bytes_and_open_files_are_read_as_the_path(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", PIXELS, exif=exif(6))
    content, expected = path.read_bytes(), np.asarray(read_image(path))
    buffer = io.BytesIO()
    buffer.write(content)  # at its end, as after Image.save
    with path.open("rb") as file:
        for source in (
            content,
            bytearray(content),
            memoryview(content),
            io.BytesIO(content),
            buffer,
            file,
            file,
            str(path),
        ):
            assert np.array_equal(np.asarray(read_image(source)), expected)
        assert not file.closed
    with pytest.raises(EANError, match="open it with mode 'rb'"), path.open(encoding="latin-1") as text:
        read_image(text)
    with pytest.raises(EANError, match="cannot decode the image given as 7 bytes"):
        read_image(b"no file")
    with pytest.raises(EANError, match="cannot decode the image given as an open file .*closed"):
        buffer.close()
        read_image(buffer)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("read", [read_image, read_size, check_image, open_picture])
def test_only_regular_files_are_opened(tmp_path: Path, read) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone")
    (tmp_path / "folder.png").mkdir()
    for name, says in (
        ("fifo.png", "not a regular file"),
        ("link.png", "not a regular file"),
        ("broken.png", "link to a file that does not exist"),
        ("folder.png", "is a folder"),
        ("none.png", "does not exist"),
        ("a\0b.png", "is not a path"),
    ):
        with pytest.raises(EANError, match=says):
            read(tmp_path / name)


def png_of(width: int, height: int) -> bytes:
    """A black 1-bit PNG of any size in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * ((1 + -(-width // 8)) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_file_of_too_many_pixels_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn
) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_of(14_000, 13_000))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    for read in (read_image, read_size, check_image, open_picture):
        with pytest.raises(EANError, match="14000x13000 pixels, 182 million where at most 179 million"):
            read(path)
    assert not recwarn.list, "Pillow's own warning came through"
    assert Image.MAX_IMAGE_PIXELS is not None, "Pillow's limit is left as it was"


def test_large_pictures_are_converted_in_strips_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, pixels in enumerate((CLEAR, GRAY, (GRAY / 255).astype(np.float32), GRAY.astype(np.uint16) * 200)):
        path = save(tmp_path / f"{number}.tif", pixels)
        whole = np.asarray(read_image(path))
        with monkeypatch.context() as patch:
            patch.setattr(module, "STRIP", 100)
            assert np.array_equal(np.asarray(read_image(path)), whole)


def test_a_reduced_picture_has_at_least_a_pixel_a_side(monkeypatch: pytest.MonkeyPatch) -> None:
    for size, expected in (((3000, 1), (100, 1)), ((1, 3000), (1, 100)), ((30, 20), (30, 20)), ((400, 200), (100, 50))):
        image = Image.new("RGB", size, (10, 20, 30))
        for strip in (module.STRIP, 100):
            monkeypatch.setattr(module, "STRIP", strip)
            small = Picture(image).reduced(100)
            assert small.size == expected
            assert (np.asarray(small) == (10, 20, 30)).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif"])
def test_what_passes_the_check_is_read(tmp_path: Path, suffix: str, share: float) -> None:
    """A file that is cut anywhere is refused by both or by none."""
    path = save(tmp_path / f"x.{suffix}", PIXELS)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    outcomes = []
    for read in (check_image, read_image):
        try:
            read(path)
            outcomes.append("")
        except EANError as error:
            outcomes.append(str(error))
    assert bool(outcomes[0]) == bool(outcomes[1])
    assert outcomes[1].startswith(f"cannot decode the image {path}")


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb\nc\u202e.png"
    path.write_bytes(b"no image")
    with pytest.raises(EANError) as caught:
        read_image(path)
    assert r"a\x1b[2Jb\nc\u202e.png" in str(caught.value)
    assert str(caught.value).isprintable()
