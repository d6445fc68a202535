"""Using a trained classifier: open its file, name what is in photos, and draw where it looks.

import ean_core

net = ean_core.load("classifier.pth")
print(net.predict("photo.jpg"))
net.draw("photo.jpg", output="seen.png")
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ean_core.data.read_image import ImageSource, as_rgb, read_image
from ean_core.inference.loaded_model import LoadedModel, load_file
from ean_core.utils.errors import EANError

ImageLike = ImageSource | Image.Image | np.ndarray
GIVE = (
    "give a path, the content of a file as bytes, a file opened with mode 'rb', a Pillow image, a uint8 array (H, W) "
    "or (H, W, 3), or a list of these"
)


@dataclass(frozen=True)
class Guess:
    """A class that may be in a photo.

    Attributes:
        name: of the class.
        probability: its softmax score.
        index: of the class in the network's output.
    """

    name: str
    probability: float
    index: int

    def __str__(self) -> str:
        return f"{self.name} {100 * self.probability:.1f} %"


class Predictor:
    """A classifier that takes images.

    Args:
        opened: its file.
    """

    def __init__(self, opened: LoadedModel) -> None:
        if opened.kind != "classifier":
            raise EANError(f"{opened.path} is a {opened.kind}, not a classifier: give a classifier.pth")
        self.opened = opened

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the outputs."""
        return self.opened.classes

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, topk: int = 5, batch_size: int = 64
    ) -> list[Guess] | list[list[Guess]]:
        """The most probable classes. Several threads may ask at a time.

        Args:
            images: a path, the bytes of a file, an open file, a Pillow image, or a uint8 array (H, W) or (H, W, 3); or
                several. A photo is turned the way its camera says, also if it comes as a Pillow image.
            topk: classes per image, or all of them where there are fewer.
            batch_size: images per forward.

        Returns:
            The guesses for one image, the most probable first; or such a list for each of several.

        Raises:
            EANError: for an image that cannot be read, something else than an image, or a topk below 1.
        """
        if is_one(images):
            return next(self.stream([to_image(images)], topk=topk, batch_size=1))
        return list(self.stream(map(to_image, several(images)), topk=topk, batch_size=batch_size))

    def stream(self, images: Iterable[Image.Image], *, topk: int, batch_size: int) -> Iterator[list[Guess]]:
        """The guesses for image after image; only a batch of them is in memory."""
        if topk < 1 or batch_size < 1:
            raise EANError(f"topk and batch_size must be at least 1, got {topk} and {batch_size}")
        views = map(self.opened.pixels, images)
        while batch := list(islice(views, batch_size)):
            scores, indices = self.opened.outputs(batch).softmax(dim=1).topk(min(topk, len(self.classes)))
            for some, where in zip(scores.tolist(), indices.tolist(), strict=True):
                yield [Guess(self.classes[i], score, i) for score, i in zip(some, where, strict=True)]

    def draw(
        self,
        images: ImageLike | Iterable[ImageLike],
        output: str | Path = "seen.png",
        *,
        target: str | int | None = None,
        stage: int = -1,
    ) -> Path:
        """Draw each image and, over it, where the network finds what speaks for a class (Grad-CAM).

        Args:
            images: as for `predict`.
            output: the picture, a .png.
            target: a class by name or number; default the most probable one of each image.
            stage: whose output is looked at, as an index into the stages.

        Raises:
            EANError: for an image that cannot be read, no image, or an unknown class or stage.
        """
        from ean_core.inference.explain.gallery import explain

        given = [images] if is_one(images) else several(images)
        named = ((image_name(one, number), to_image(one), None) for number, one in enumerate(given, start=1))
        return explain([self.opened], named, output, target=target, stage=stage).path


def load(path: str | Path, *, device: str | None = None) -> Predictor:
    """Open a classifier for photos.

    Args:
        path: a classifier.pth or supernet.pth, or the .safetensors made of one. It is read as weights only: it cannot
            run code.
        device: default CUDA where there is one.

    Raises:
        EANError: if the file is missing, damaged or no classifier.
    """
    return Predictor(load_file(path, device=device))


def is_one(images: Any) -> bool:
    """Whether this is one image, and not several."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image, np.ndarray)
    return isinstance(images, kinds) or hasattr(images, "read")


def several(images: Any) -> Iterable[Any]:
    """The images of a list or of anything else that gives one after the other.

    Raises:
        EANError: for something else.
    """
    if isinstance(images, Tensor | Mapping) or not isinstance(images, Iterable):
        raise EANError(f"{what_is(images)} is no image and no list of images: {GIVE}")
    return images


def to_image(image: Any) -> Image.Image:
    """Whatever stands for an image as RGB, upright.

    Raises:
        EANError: if it cannot be read, or is something else.
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
    if not is_one(image):
        raise EANError(f"{what_is(image)} is no image: {GIVE}")
    return read_image(image)


def what_is(thing: object) -> str:
    """What was given, as the start of a sentence."""
    if isinstance(thing, Tensor):
        return f"a tensor of shape {tuple(thing.shape)}"
    return "None" if thing is None else f"a {type(thing).__name__}"


def image_name(image: ImageLike, number: int) -> str:
    """What a picture calls an image."""
    return Path(image).name if isinstance(image, str | os.PathLike) else f"image {number}"
