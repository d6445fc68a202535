"""Read images for every task and command: upright, in 8-bit RGB, in bounded memory.

- The EXIF orientation is applied, for all formats.
- Transparent pixels become white.
- Gray levels of more than 8 bits are scaled, not clipped: 16-bit files from 0 to 65535 in either byte order; other
  integers and floats from 0 to 255, or to 65535 if a value is above 255; floats of at most 1 from 0 to 1.
- Of an animation or a multi-page file, the first image is taken.
- The header is read first, and a file with too many pixels is refused before decoding.
- Only regular files are opened: a FIFO or a device may never end.
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
"""A path, a file's content, or a file open in binary mode."""

MAX_PIXELS = 178_956_970  # Pillow's own limit; four bytes each during decoding
STRIP = 1 << 24  # pixels converted at once
FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "PPM", "TIFF", "GIF", "JPEG2000", "AVIF", "HEIF")
"""Supported formats by Pillow's names; not EPS and the like, for which Pillow starts other programs."""
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
    """Decode an image into 8-bit RGB.

    Args:
        source: path, content or open file.
        upright: apply the EXIF orientation; False only for data sets used as published.
        max_pixels: larger images are refused.

    Raises:
        EANError: if the file is missing, not regular, too large, or cannot be decoded.
    """
    return open_picture(source, upright=upright, max_pixels=max_pixels).full()


def open_picture(source: ImageSource, *, upright: bool = True, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode an image whose regions are converted to RGB on demand; see `read_image`."""
    with open_image(source, max_pixels=max_pixels) as image:
        return Picture(image, upright=upright)


def read_size(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(width, height) of the upright image; see `read_image`. Most formats are not decoded for this."""
    with open_image(source, max_pixels=max_pixels) as image:
        # Pillow rotates TIFF files itself, and reports the upright size.
        sideways = image.format != "TIFF" and orientation_of(image) >= 5
        return (image.height, image.width) if sideways else image.size


def check_image(source: ImageSource) -> tuple[int, int]:
    """Check that `read_image` can read a file; decodes it at a reduced scale if the format allows.

    Returns:
        (width, height) of the upright image.

    Raises:
        EANError: whenever `read_image` would.
    """
    with open_image(source) as image:
        size = image.size
        image.draft("RGB", (1, 1))  # JPEG: decodes at an eighth of the size, but reads the whole file
        picture = Picture(image)
        picture.crop((0, 0, 1, 1))
        return size[::-1] if picture.sideways and image.format != "TIFF" else size


def as_rgb(image: Image.Image, *, name: str = "the image") -> Image.Image:
    """Convert a Pillow image of any mode as `read_image` would convert its file.

    Raises:
        EANError: if it has no pixels, or is loaded lazily from a damaged or closed file.
    """
    if not image.width or not image.height:
        raise EANError(f"{name} has {image.width}x{image.height} pixels: give an image with at least one")
    with decoding(name):
        return Picture(image).full()


class Picture:
    """A decoded image in the file's pixel format; regions are converted to upright 8-bit RGB on demand.

    Args:
        image: a Pillow image of any mode.
        upright: apply the EXIF orientation.
    """

    def __init__(self, image: Image.Image, *, upright: bool = True) -> None:
        image.load()
        self._image = image
        self._turn = orientation_of(image) if upright else 1
        self._top = gray_top(image) if is_gray_scale(image.mode) else None

    @property
    def sideways(self) -> bool:
        """Whether the orientation swaps width and height."""
        return self._turn >= 5

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright image in pixels."""
        width, height = self._image.size
        return (height, width) if self.sideways else (width, height)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3), like an array's shape."""
        width, height = self.size
        return height, width, 3

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """Index rows and columns like an array: uint8 (h, w, 3); steps are ignored."""
        rows, columns = part
        (top, bottom, _), (left, right, _) = rows.indices(self.shape[0]), columns.indices(self.shape[1])
        return np.asarray(self.crop((left, top, right, bottom)))

    def crop(self, box: Box) -> Image.Image:
        """A region (left, top, right, bottom) of the upright image, as RGB."""
        part = self._image.crop(stored_box(box, self._image.size, self._turn))
        part.info = self._image.info
        rgb = to_rgb(part, top=self._top)
        return rgb.transpose(TURNS[self._turn]) if self._turn in TURNS else rgb

    def full(self) -> Image.Image:
        """The full image as RGB; converted in strips, so that a large file needs little extra memory."""
        if self._image.mode == "RGB" and self._turn not in TURNS and "transparency" not in self._image.info:
            return self._image
        width, height = self.size
        if width * height <= STRIP:
            return self.crop((0, 0, width, height))
        rows = max(1, STRIP // width)
        full = Image.new("RGB", (width, height))
        for top in range(0, height, rows):
            full.paste(self.crop((0, top, width, min(height, top + rows))), (0, top))
        return full

    def reduced(self, longest: int) -> Image.Image:
        """The full image as RGB, downscaled so that no side exceeds `longest` pixels (and none drops below one)."""
        width, height = self.size
        scale = min(1.0, longest / max(width, height))
        if scale == 1.0:
            return self.full()
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
def open_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open a Pillow image, reading only the header; errors in the block name the file.

    Raises:
        EANError: as `read_image`.
    """
    name = name_of(source)
    with open_bytes(source) as file, decoding(name), pillow_image(file) as image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise EANError(
                f"the image {name} has {image.width}x{image.height} pixels, {pixels / 1e6:,.0f} million where at most "
                f"{max_pixels / 1e6:,.0f} million are supported: resize it, or cut it into tiles"
            )
        yield image


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn any exception in the block into an `EANError` that the image cannot be decoded."""
    try:
        yield
    except EANError:
        raise
    except UnidentifiedImageError:
        raise EANError(
            f"cannot decode the image {name} (cannot identify image file: it is empty, damaged, or of an unsupported "
            "format): replace or remove the file"
        ) from None
    except Exception as error:  # on bad bytes Pillow raises OSError, SyntaxError, struct.error and more
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(f"cannot decode the image {name} ({reason}): replace or remove the file") from error


def pillow_image(file: BinaryIO) -> Image.Image:
    """Read a header without Pillow's own pixel limit, which is global and prints warnings."""
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
    """Yield a source as a seekable binary file; an open file is read from its start and stays open."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        with open_regular(source) as file:
            yield file
    else:
        with decoding(name_of(source)):
            if source.seekable():
                source.seek(0)  # a file that was just written is positioned at its end
            content = source.read()
        if not isinstance(content, bytes):
            raise EANError(f"{name_of(source)} is open in text mode: open it with mode 'rb'")
        yield io.BytesIO(content)


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Raises:
        EANError: if it is missing, unreadable, or a folder, FIFO, device or socket.
    """
    name = legible(str(path))
    try:
        # Non-blocking: opening a FIFO without a writer would wait for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        kind = "is a link to a file that does not exist" if Path(path).is_symlink() else "does not exist"
        raise EANError(f"{name} {kind}: give image files, or folders of them") from None
    except ValueError:  # a zero byte in the path
        raise EANError(f"{name!r} is not a path: give image files, or folders of them") from None
    except OSError as error:
        raise EANError(f"{name} cannot be read ({error.strerror}): check its permissions and the disk") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        kind = "a folder" if Path(path).is_dir() else "not a regular file (a FIFO, a device or the like)"
        raise EANError(f"{name} is {kind}: give an image file")
    return os.fdopen(handle, "rb")


def name_of(source: object) -> str:
    """The name of an image source in messages."""
    if isinstance(source, str | os.PathLike):
        return legible(str(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return f"given as {len(source)} bytes"
    name = getattr(source, "name", None)
    return legible(name) if isinstance(name, str) else "given as an open file"


# -- pixels -----------------------------------------------------------------------------------------------------------


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is absent or invalid."""
    value = image.getexif().get(ORIENTATION, 1)
    return value if value in TURNS else 1


def stored_box(box: Box, size: tuple[int, int], turn: int) -> Box:
    """Map a box of the upright image to the stored image, whose (width, height) is `size`."""
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
    """Convert any Pillow mode to RGB; `top` is `gray_top` of the full image if it has more than 8 bits per gray level.

    Unlike Pillow's own conversion, this scales 16-bit and float images instead of clipping them at 255, and puts
    transparent pixels on white.
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
    """Whether a Pillow mode has more than 8 bits per gray level: I, I;16, I;16B, F, .."""
    return mode.startswith("I") or mode == "F"


def gray_top(image: Image.Image) -> int:
    """The value of white: the smallest of 1, 255 and 65535 that bounds all values.

    Integers never use 1 and 16-bit files never 255, so that dark images stay dark.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 65535
    values = np.asarray(image)
    finite = np.isfinite(values)
    largest = values.max(initial=0, where=finite)
    if image.mode == "F" and largest <= 1:
        return 1
    return 255 if largest <= 255 else 65535


def to_bytes(values: np.ndarray, *, top: int) -> np.ndarray:
    """Scale gray levels (H, W) from 0 to `top` to uint8; NaN becomes black, and values outside are clipped."""
    scaled = np.nan_to_num(values.astype(np.float64)) / top
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
