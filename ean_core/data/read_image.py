"""One way to read a picture, for every task and command: upright, in 8-bit RGB, in bounded memory.

- Photos are turned the way their camera says (EXIF orientation), for all formats.
- What is transparent is white.
- Gray levels of more than 8 bits are scaled, not cut off: 16-bit files from 0 to 65535 in either byte order; other
  integers and floats from 0 to 255, or to 65535 if a value is above 255; floats of at most 1 from 0 to 1.
- Of an animation or a file of several pages the first picture is taken.
- The header is looked at first, and a file of too many pixels is refused before any of them is decoded.
- Only regular files are opened: a FIFO or a device would never end.
"""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from ean_core.utils.errors import EANError, legible

ImageSource = str | os.PathLike | bytes | bytearray | memoryview | BinaryIO
"""A path, a file's content, or a file that is open for reading bytes."""

MAX_PIXELS = 178_956_970  # Pillow's own limit; four bytes each while they are decoded
STRIP = 1 << 24  # pixels that are converted at once
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "PPM", "TIFF", "GIF", "JPEG2000", "AVIF", "HEIF")
"""Pillow's names of what is read; not EPS and its like, for which Pillow starts other programs."""
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
_OPENING = threading.Lock()  # Pillow's limit is a global variable
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels


def read_image(source: ImageSource, *, upright: bool = True, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode a picture into 8-bit RGB.

    Args:
        source: path, content or open file.
        upright: turn a photo the way its camera says; False only for data sets that are used as published.
        max_pixels: a larger picture is refused.

    Raises:
        EANError: if it is missing, no regular file, too large, or cannot be decoded, naming it.
    """
    return open_picture(source, upright=upright, max_pixels=max_pixels).whole()


def open_picture(source: ImageSource, *, upright: bool = True, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a picture whose parts are converted to RGB as they are asked for; see `read_image`."""
    with opened(source, max_pixels=max_pixels) as image:
        return Picture(image, upright=upright)


def read_size(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of a picture once it is upright; see `read_image`. Most formats are not decoded for it."""
    with opened(source, max_pixels=max_pixels) as image:
        # Pillow turns TIFF files itself and gives the size that they will have.
        sideways = image.format != "TIFF" and orientation_of(image) >= 5
        return (image.height, image.width) if sideways else image.size


def check_image(source: ImageSource) -> tuple[int, int]:
    """Read a file to its end as `read_image` does, at a coarse scale where the format allows it.

    Returns:
        (width, height) once it is upright.

    Raises:
        EANError: whenever `read_image` would raise one.
    """
    with opened(source) as image:
        size = image.size
        image.draft("RGB", (1, 1))  # a JPEG file is decoded at an eighth of its size, and still read to its end
        picture = Picture(image)
        picture.crop((0, 0, 1, 1))
        return size[::-1] if picture.sideways and image.format != "TIFF" else size


def as_rgb(image: Image.Image, *, name: str = "the image") -> Image.Image:
    """A Pillow image of any mode as `read_image` would give its file.

    Raises:
        EANError: if it has no pixels, or is the lazily read one of a file that is damaged or closed.
    """
    if not image.width or not image.height:
        raise EANError(f"{name} has {image.width}x{image.height} pixels: give an image with at least one")
    with decoding(name):
        return Picture(image).whole()


class Picture:
    """A decoded picture in the file's own pixel format, whose parts are given as upright 8-bit RGB.

    Args:
        image: of any mode of Pillow's.
        upright: turn it the way its camera says.
    """

    def __init__(self, image: Image.Image, *, upright: bool = True) -> None:
        image.load()
        self._image = image
        self._turn = orientation_of(image) if upright else 1
        self._top = gray_top(image) if is_gray_scale(image.mode) else None

    @property
    def sideways(self) -> bool:
        """Whether rows of the file are columns of the picture."""
        return self._turn >= 5

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, upright."""
        width, height = self._image.size
        return (height, width) if self.sideways else (width, height)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), as that of an array."""
        width, height = self.size
        return height, width, 3

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """Rows and columns, uint8 (h, w, 3), as of an array; steps are not taken."""
        (top, bottom, _), (left, right, _) = (one.indices(side) for one, side in zip(part, self.shape[:2], strict=True))
        return np.asarray(self.crop((left, top, right, bottom)))

    def crop(self, box: Box) -> Image.Image:
        """A part inside of the picture, as RGB."""
        part = self._image.crop(stored_box(box, self._image.size, self._turn))
        part.info = self._image.info
        rgb = to_rgb(part, top=self._top)
        return rgb.transpose(TURNS[self._turn]) if self._turn in TURNS else rgb

    def whole(self) -> Image.Image:
        """All of it, as RGB; converted in strips, so that a large file needs little more memory than its pixels."""
        if self._image.mode == "RGB" and self._turn not in TURNS and "transparency" not in self._image.info:
            return self._image
        width, height = self.size
        if width * height <= STRIP:
            return self.crop((0, 0, width, height))
        rows = max(1, STRIP // width)
        whole = Image.new("RGB", (width, height))
        for top in range(0, height, rows):
            whole.paste(self.crop((0, top, width, min(height, top + rows))), (0, top))
        return whole

    def reduced(self, longest: int) -> Image.Image:
        """All of it, as RGB, made smaller where a side has more than `longest` pixels; no side gets less than one."""
        width, height = self.size
        scale = min(1.0, longest / max(width, height))
        if scale == 1.0:
            return self.whole()
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = Image.new("RGB", size)
        rows = max(1, STRIP // width)
        edges = [*range(0, height, rows), height]
        ends = [round(edge * size[1] / height) for edge in edges]
        for top, bottom, first, end in zip(edges, edges[1:], ends, ends[1:], strict=False):
            if end > first:
                strip = self.crop((0, top, width, bottom))
                small.paste(strip.resize((size[0], end - first), Image.Resampling.BOX), (0, first))
        return small


# -- opening ----------------------------------------------------------------------------------------------------------


@contextmanager
def opened(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """A Pillow image of which the header has been read; whatever goes wrong in the block names the file.

    Raises:
        EANError: as `read_image`.
    """
    name = name_of(source)
    with open_bytes(source) as file, decoding(name), pillow_image(file) as image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise EANError(
                f"the image {name} has {image.width}x{image.height} pixels, {pixels / 1e6:,.0f} million of at most "
                f"{max_pixels / 1e6:,.0f} million that are read: reduce it, or cut it into parts"
            )
        yield image


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Any exception in the block becomes the sentence that a picture cannot be decoded."""
    try:
        yield
    except EANError:
        raise
    except UnidentifiedImageError:
        raise EANError(
            f"cannot decode the image {name} (cannot identify image file: it is empty, damaged, or of a format that is "
            "not read here): replace or remove the file"
        ) from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more on bad bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(f"cannot decode the image {name} ({reason}): replace or remove the file") from error


def pillow_image(file: BinaryIO) -> Image.Image:
    """Read a header without Pillow's own limit, which warns on the terminal and knows one number for all uses."""
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def open_bytes(source: ImageSource) -> Iterator[BinaryIO]:
    """A source as a file of bytes that can be searched; one that was open is read from its start and stays open."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with open_regular(source) as file:
            yield file
    else:
        with decoding(name_of(source)):
            if source.seekable():
                source.seek(0)  # a file that was just written is at its end
            content = source.read()
        if not isinstance(content, bytes):
            raise EANError(f"{name_of(source)} gives text: open it with mode 'rb'")
        yield io.BytesIO(content)


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file for reading, or a link to one, and nothing else.

    Raises:
        EANError: if it is missing, a folder, a FIFO, a device or a socket; or cannot be read.
    """
    name = legible(str(path))
    try:
        # Not blocking: opening a FIFO to which nobody writes would wait for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        what = "is a link to a file that does not exist" if Path(path).is_symlink() else "does not exist"
        raise EANError(f"{name} {what}: give image files, or folders of them") from None
    except ValueError:  # a zero byte in the path
        raise EANError(f"{name!r} is no path: give image files, or folders of them") from None
    except OSError as error:
        raise EANError(f"{name} cannot be read ({error.strerror}): check its permissions and the disk") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        what = "a folder" if Path(path).is_dir() else "no regular file but a FIFO, a device or the like"
        raise EANError(f"{name} is {what}: give an image file")
    return os.fdopen(handle, "rb")


def name_of(source: object) -> str:
    """What a sentence calls a picture."""
    if isinstance(source, str | os.PathLike):
        return legible(str(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return f"given as {len(source)} bytes"
    name = getattr(source, "name", None)
    return legible(name) if isinstance(name, str) else "given as an open file"


# -- pixels -----------------------------------------------------------------------------------------------------------


def orientation_of(image: Image.Image) -> int:
    """EXIF's number of how a photo has to be turned, 1 to 8; 1 where nothing valid is said."""
    value = image.getexif().get(ORIENTATION, 1)
    return value if value in TURNS else 1


def stored_box(box: Box, size: tuple[int, int], turn: int) -> Box:
    """Where a box of the upright picture is in the file, whose (width, height) is `size`."""
    (left, top, right, bottom), (width, height) = box, size
    return {
        2: (width - right, top, width - left, bottom),
        3: (width - right, height - bottom, width - left, height - top),
        4: (left, height - bottom, right, height - top),
        5: (top, left, bottom, right),
        6: (top, height - right, bottom, height - left),
        7: (width - bottom, height - right, width - top, height - left),
        8: (width - bottom, left, width - top, right),
    }.get(turn, box)


def to_rgb(image: Image.Image, *, top: int | None) -> Image.Image:
    """Any mode of Pillow's as RGB; `top` is `gray_top` of the whole picture where it has gray levels beyond 8 bits.

    Unlike Pillow's own conversion this keeps the gray levels of 16-bit and float images, which it cuts off at 255, and
    puts what is transparent on white.
    """
    clear = image.info.get("transparency")
    if top is not None:
        values = np.asarray(image)
        gray = to_bytes(values, top=top)
        if isinstance(clear, int):
            gray[values == clear] = 255
        return Image.fromarray(gray).convert("RGB")
    if image.mode in TRANSPARENT or clear is not None:
        colored = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", colored.size, "white")
        return Image.alpha_composite(white, colored).convert("RGB")
    return image.convert("RGB")


def is_gray_scale(mode: str) -> bool:
    """Whether a mode of Pillow's has gray levels beyond 8 bits: I, I;16, I;16B, F, .."""
    return mode.startswith("I") or mode == "F"


def gray_top(image: Image.Image) -> int:
    """The value that is white: 1, 255 or 65535, whichever is the smallest that holds all values.

    Integers are never taken for 0 to 1, and 16-bit files never for 0 to 255: a dark one must stay dark.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return 65535
    values = np.asarray(image)
    finite = np.isfinite(values)
    largest = values.max(initial=0, where=finite)
    if image.mode == "F" and largest <= 1:
        return 1
    return 255 if largest <= 255 else 65535


def to_bytes(values: np.ndarray, *, top: int) -> np.ndarray:
    """Gray levels (H, W) of 0 to `top` as uint8; NaN is black, what is outside is cut off."""
    scaled = np.nan_to_num(values.astype(np.float64)) / top
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
