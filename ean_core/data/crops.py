"""From an image to a square uint8 tensor: the usual ImageNet recipe for training and for evaluation."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

SCALE = (0.08, 1.0)  # share of the image's area that a training crop has
RATIO = (3 / 4, 4 / 3)  # its width by its height
LONG = 64  # times as long as wide: a longer image is cropped before it is resized


def train_crop(image: Image.Image, size: int, generator: torch.Generator) -> Tensor:
    """A random part of the image, resized: uint8 (3, size, size)."""
    top, left, height, width = random_box(image.height, image.width, generator)
    return F.pil_to_tensor(F.resized_crop(image, top, left, height, width, [size, size]))


def eval_crop(image: Image.Image, size: int, resize: int) -> Tensor:
    """The center of the image, its shorter side resized to `resize` first: uint8 (3, size, size).

    A strip of 65000 pixels by one would be enlarged to gigabytes, of which the crop keeps a corner: of such an image
    what the crop shows is cut out first.
    """
    if max(image.size) > LONG * min(image.size):
        image = middle(image)
    return F.pil_to_tensor(F.center_crop(F.resize(image, [resize]), [size, size]))


def middle(image: Image.Image) -> Image.Image:
    """The middle of a long image, twice as long as wide or a pixel more: more than a square crop shows of it."""
    width, height = image.size
    side = 2 * min(width, height)
    long = max(width, height)
    side += (long - side) % 2  # the same number of pixels is cut off at both ends
    first = (long - side) // 2
    return image.crop((first, 0, first + side, height) if width > height else (0, first, width, first + side))


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
