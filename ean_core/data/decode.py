"""From an image file to a square uint8 tensor: the usual ImageNet recipe for training and for evaluation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import functional as F

from ean_core.utils.errors import EANError

SCALE = (0.08, 1.0)  # share of the image's area that a training crop has
RATIO = (3 / 4, 4 / 3)  # its width by its height


def open_image(path: str | Path, *, upright: bool = False) -> Image.Image:
    """Decode a file into 8-bit RGB; `upright` turns it the way its camera says (EXIF).

    One way for training, evaluation and prediction: a network must not be shown other grey levels than it learned from.

    Raises:
        EANError: if it cannot be decoded, naming it.
    """
    try:
        with Image.open(path) as image:
            return as_rgb(ImageOps.exif_transpose(image) if upright else image)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more on bad bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(f"cannot decode the image {path} ({reason}): replace or remove the file") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow's as RGB with 8 bits per channel.

    Unlike Pillow's own conversion this keeps the grey levels of 16-bit and float images, which it cuts off at 255, and
    puts what is transparent on white.
    """
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


def training_view(image: Image.Image, size: int, generator: torch.Generator) -> Tensor:
    """A random part of the image, resized: uint8 (3, size, size)."""
    top, left, height, width = random_box(image.height, image.width, generator)
    return F.pil_to_tensor(F.resized_crop(image, top, left, height, width, [size, size]))


def evaluation_view(image: Image.Image, size: int, resize: int) -> Tensor:
    """The centre of the image, its shorter side resized to `resize` first: uint8 (3, size, size)."""
    return F.pil_to_tensor(F.center_crop(F.resize(image, [resize]), [size, size]))


def random_box(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random resized crop (https://arxiv.org/abs/1409.4842, section 6).

    torchvision's `RandomResizedCrop.get_params`, draw for draw, but with a generator of its own: torchvision knows
    only the global one, and then what a worker process drew before would matter.
    """
    log_ratio = (math.log(RATIO[0]), math.log(RATIO[1]))
    for _ in range(10):
        area = height * width * torch.empty(1).uniform_(*SCALE, generator=generator).item()
        ratio = math.exp(torch.empty(1).uniform_(*log_ratio, generator=generator).item())
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(torch.randint(height - box_height + 1, (1,), generator=generator))
            left = int(torch.randint(width - box_width + 1, (1,), generator=generator))
            return top, left, box_height, box_width
    # No box fitted, as in very long images: the largest centred one with an allowed ratio.
    box_height = min(height, round(width / RATIO[0]))
    box_width = min(width, round(height * RATIO[1]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
