"""Images to predict on, brought to the form that a network was trained on; and pictures that are written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from ean_core.data.crops import eval_crop
from ean_core.data.normalize import Normalize
from ean_core.data.read_image import read_image
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_path

LONGEST_STEM = 180  # bytes, so that the file beside it that replaces it atomically has a name of less than 255


def read_images(files: Sequence[Path]) -> Iterator[tuple[Path, Image.Image | EANError]]:
    """Every file with its image, or with the sentence that says why it cannot be read; one is in memory at a time."""
    for file in files:
        try:
            yield file, read_image(file)
        except EANError as error:
            yield file, error


def result_name(stem: str, ending: str) -> str:
    """The name of a file that is written for an image; of a very long one the start, and digits of its own."""
    if len(os.fsencode(stem)) <= LONGEST_STEM:
        return stem + ending
    cut = os.fsencode(stem)[: LONGEST_STEM - 9].decode("utf-8", "ignore")
    return f"{cut}_{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 RGB (H, W, 3) or grey (H, W), atomically, in the form that the name's ending says.

    OpenCV only encodes: its own writing ends the process at a name that is no UTF-8, and a full disk in silence.
    """
    _, content = cv2.imencode(path.suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())


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
            size = tuple(max(1, int(side * min(longest, shortest) + 0.5)) for side in photo.size)
            photo = Image.fromarray(cv2.resize(np.asarray(photo), size, interpolation=cv2.INTER_LINEAR))
        if self.size is None:
            return F.pil_to_tensor(photo)
        return eval_crop(photo, self.size, self.resize or self.size)

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 (B, channels, H, W) -> float32 (B, channels, H, W), on the same device."""
        return Normalize(self.mean, self.std).to(pixels.device)(pixels)
