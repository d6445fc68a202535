"""Images as arguments: paths, bytes, open files, Pillow images and arrays, one or several of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from ean_core.data.read_image import ImageSource, as_rgb, read_image
from ean_core.utils.errors import EANError

T = TypeVar("T")

ImageLike = ImageSource | Image.Image | np.ndarray
GIVE = (
    "give a path, the content of a file as bytes, a file opened with mode 'rb', a Pillow image, a uint8 array (H, W) "
    "or (H, W, 3), or a list of these"
)


def for_each(images: Any, function: Callable[[Any], T]) -> T | list[T]:
    """What a function gives for an image, or a list of what it gives for each of several.

    Raises:
        EANError: for a value that is neither an image nor several.
    """
    return function(images) if is_single(images) else [function(image) for image in as_iterable(images)]


def is_single(images: Any) -> bool:
    """Whether this is a single image rather than several."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    return isinstance(images, kinds) or hasattr(images, "read")


def as_iterable(images: Any) -> Iterable[Any]:
    """The images of a list or of anything else that gives one after the other.

    Raises:
        EANError: for any other value.
    """
    if isinstance(images, Tensor | Mapping) or not isinstance(images, Iterable):
        raise EANError(f"{describe_type(images)} is neither an image nor a list of images: {GIVE}")
    return images


def to_image(image: Any) -> Image.Image:
    """Convert any kind of image to upright RGB.

    Raises:
        EANError: if it cannot be read, or is not an image.
    """
    if isinstance(image, Image.Image):
        return as_rgb(image, name="the Pillow image")
    if isinstance(image, np.ndarray):
        fits = image.dtype == np.uint8 and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4)))
        if not fits or not image.size:
            raise EANError(
                f"an image is an array {image.dtype} of shape {image.shape}: give uint8 (H, W), (H, W, 3) or "
                "(H, W, 4), of at least one pixel"
            )
        return as_rgb(Image.fromarray(image))
    if not is_single(image):
        raise EANError(f"{describe_type(image)} is not an image: {GIVE}")
    return read_image(image)


def describe_type(value: object) -> str:
    """Describe a value for an error message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def image_name(image: ImageLike, number: int) -> str:
    """The label of an image in a picture: its file name, or its number."""
    return Path(image).name if isinstance(image, str | os.PathLike) else f"image {number}"
