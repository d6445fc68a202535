"""Reading images, preparing them as in a network's training, and writing pictures."""

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

LONGEST_STEM = 180  # bytes, so that the temporary file's name stays below 255


def read_images(files: Sequence[Path]) -> Iterator[tuple[Path, Image.Image | EANError]]:
    """Every file with its image, or with the sentence that says why it cannot be read; one is in memory at a time."""
    for file in files:
        try:
            yield file, read_image(file)
        except EANError as error:
            yield file, error


def result_name(stem: str, ending: str) -> str:
    """The name of a file that is written for an image; very long names are truncated and made unique by a hash."""
    if len(os.fsencode(stem)) <= LONGEST_STEM:
        return stem + ending
    cut = os.fsencode(stem)[: LONGEST_STEM - 9].decode("utf-8", "ignore")
    return f"{cut}_{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 RGB (H, W, 3) or gray (H, W), atomically, in the format of the file name's extension.

    OpenCV only encodes: its own writer aborts on names that are not UTF-8, and ignores a full disk.
    """
    _, content = cv2.imencode(path.suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.tobytes())


@dataclass(frozen=True)
class Preparation:
    """How an image becomes a network's input, as in the evaluation during its training.

    Attributes:
        channels: 3, or 1 for a network of gray images.
        mean, std: per channel, of values scaled to [0, 1].
        size: side in pixels of the square center crop; None for the whole image.
        resize: length in pixels of the shorter side before cropping.
        fit: for a network without `size`, the most pixels that its longer and its shorter side may have; the image
            is enlarged or reduced to what fits, as mmcv's Resize does with keep_ratio.
    """

    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None
    resize: int | None = None
    fit: tuple[int, int] | None = None

    def pixels(self, image: Image.Image) -> Tensor:
        """An RGB image -> uint8 (channels, H, W), what the network gets to see."""
        if self.channels == 1:
            image = image.convert("L")
        if self.fit is not None:
            longest, shortest = max(self.fit) / max(image.size), min(self.fit) / min(image.size)
            size = tuple(max(1, int(side * min(longest, shortest) + 0.5)) for side in image.size)
            image = Image.fromarray(cv2.resize(np.asarray(image), size, interpolation=cv2.INTER_LINEAR))
        if self.size is None:
            return F.pil_to_tensor(image)
        return eval_crop(image, self.size, self.resize or self.size)

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 (B, channels, H, W) -> float32 (B, channels, H, W), on the same device."""
        return Normalize(self.mean, self.std).to(pixels.device)(pixels)
