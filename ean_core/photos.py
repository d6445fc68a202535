"""Photos from anywhere: found, opened whatever their mode, and brought to the form that a network was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import functional as F

from ean_core.data.decode import evaluation_view
from ean_core.data.folder import SUFFIXES, is_image
from ean_core.errors import EANError
from ean_core.normalise import Normalise


def find_photos(sources: Sequence[str | Path], *, below: bool = True) -> list[Path]:
    """The image files among `sources`, and all in the folders among them, each folder's by name, and each file once.

    Args:
        sources: files, which are taken whatever they end in, and folders.
        below: look into the folders of folders too; not for a command whose own pictures may be put there.

    Raises:
        EANError: if a source does not exist, or a folder has no image files.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            files = source.rglob("*") if below else source.iterdir()
            inside = sorted(file for file in files if is_image(file.name) and file.is_file())
            if not inside:
                raise EANError(f"no images in the folder {source}: expected files ending in {', '.join(SUFFIXES)}")
            found += inside
        elif source.exists():
            found.append(source)
        else:
            raise EANError(f"{source} does not exist: give image files, or folders of them")
    return list(dict.fromkeys(found))


def open_photos(files: Sequence[Path]) -> Iterator[tuple[Path, Image.Image | EANError]]:
    """Every file with its image, or with the sentence that says why it cannot be read; one is in memory at a time."""
    for file in files:
        try:
            yield file, open_photo(file)
        except EANError as error:
            yield file, error


def open_photo(path: str | Path) -> Image.Image:
    """Decode an image file into upright 8-bit RGB.

    Unlike the loaders of training images this turns a photo the way its camera says (EXIF), keeps the grey levels of
    16-bit and float images, which Pillow's own conversion cuts off at 255, and puts what is transparent on white.

    Raises:
        EANError: if it cannot be decoded, naming it.
    """
    try:
        with Image.open(path) as image:
            return as_rgb(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise EANError(f"{path} does not exist: give image files, or folders of them") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more on bad bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(f"cannot decode the image {path} ({reason}): replace or remove the file") from None


def as_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's as RGB with 8 bits per channel."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(to_bytes(np.asarray(image))).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Grey levels (H, W) of 0 to 1, 0 to 255 or 0 to 65535, whichever is the smallest that holds them, as uint8.

    Integers are never taken for 0 to 1, and 16-bit files never for 0 to 255: a dark one must stay dark.
    """
    values = np.nan_to_num(np.asarray(values))
    if values.dtype == np.uint16:
        top = 65535
    elif values.dtype.kind == "f" and values.max(initial=0) <= 1:
        top = 1
    else:
        top = 255 if values.max(initial=0) <= 255 else 65535
    return np.rint(np.clip(values.astype(np.float64) / top, 0, 1) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Preparation:
    """How a photo becomes a network's input: what evaluation did with the images that the network was trained on.

    Attributes:
        channels: 3, or 1 for a network of grey images.
        mean, std: per channel, of values scaled to [0, 1].
        size: side in pixels of the square that is cut from the middle; None: the whole photo as it is.
        resize: length in pixels that the shorter side is brought to before.
        fit: for a network without `size`, the most pixels that its longer and its shorter side may have; the photo
            is enlarged or reduced to what fits, as mmcv's Resize does with keep_ratio.
    """

    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None
    resize: int | None = None
    fit: tuple[int, int] | None = None

    def pixels(self, photo: Image.Image) -> Tensor:
        """An RGB image -> uint8 (channels, H, W), what the network gets to see."""
        if self.channels == 1:
            photo = photo.convert("L")
        if self.fit is not None:
            longest, shortest = max(self.fit) / max(photo.size), min(self.fit) / min(photo.size)
            size = tuple(int(side * min(longest, shortest) + 0.5) for side in photo.size)
            photo = Image.fromarray(cv2.resize(np.asarray(photo), size, interpolation=cv2.INTER_LINEAR))
        if self.size is None:
            return F.pil_to_tensor(photo)
        return evaluation_view(photo, self.size, self.resize or self.size)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (B, channels, H, W) -> float32 (B, channels, H, W), on the same device."""
        return Normalise(self.mean, self.std).to(pixels.device)(pixels)
