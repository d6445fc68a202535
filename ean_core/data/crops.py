"""Square crops of an image as uint8 tensors: the usual ImageNet recipes for training and evaluation."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

SCALE = (0.08, 1.0)  # area of a training crop as a fraction of the image's
RATIO = (3 / 4, 4 / 3)  # width / height of a training crop
MAX_ASPECT_RATIO = 64  # long side / short side; a longer image is cropped before it is resized


def train_crop(image: Image.Image, size: int, generator: torch.Generator) -> Tensor:
    """A random resized crop: uint8 (3, size, size)."""
    top, left, height, width = random_box(image.height, image.width, generator)
    return F.pil_to_tensor(F.resized_crop(image, top, left, height, width, [size, size]))


def eval_crop(image: Image.Image, size: int, resize: int) -> Tensor:
    """A center crop after resizing the shorter side to `resize`: uint8 (3, size, size).

    Very long images are cropped first: resizing a strip of 65000x1 pixels would take gigabytes.
    """
    if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
        image = central_strip(image)
    return F.pil_to_tensor(F.center_crop(F.resize(image, [resize]), [size, size]))


def central_strip(image: Image.Image) -> Image.Image:
    """The middle of a long image, twice as long as wide (or a pixel more), which contains any center crop."""
    width, height = image.size
    side = 2 * min(width, height)
    long_side = max(width, height)
    side += (long_side - side) % 2  # crop the same number of pixels at both ends
    start = (long_side - side) // 2
    return image.crop((start, 0, start + side, height) if width > height else (0, start, width, start + side))


def random_box(height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random resized crop (https://arxiv.org/abs/1409.4842, section 6).

    The same draws as torchvision's `RandomResizedCrop.get_params`, but from a given generator: torchvision uses the
    global one, whose state depends on what the worker process did before.
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
    # No box fits, as in very long images: take the largest centered one with an allowed ratio.
    box_height = min(height, round(width / RATIO[0]))
    box_width = min(width, round(height * RATIO[1]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width
