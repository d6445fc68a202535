"""Using a trained classifier: load its file, classify images, and draw where it looks.

import ean_core

net = ean_core.load("classifier.pth")
print(net.predict("photo.jpg"))
net.draw("photo.jpg", output="seen.png")
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from ean_core.inference.image_arguments import ImageLike, as_iterable, image_name, is_single, to_image
from ean_core.inference.loaded_model import LoadedModel, load_file
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Guess:
    """A predicted class.

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
    """A classifier for images of any source.

    Args:
        model: the loaded classifier.
    """

    def __init__(self, model: LoadedModel) -> None:
        if model.kind != "classifier":
            raise EANError(f"{model.path} is a {model.kind}, not a classifier: give a classifier.pth")
        self.model = model

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the outputs."""
        return self.model.classes

    def predict(
        self, images: ImageLike | Iterable[ImageLike], *, topk: int = 5, batch_size: int = 64
    ) -> list[Guess] | list[list[Guess]]:
        """The most probable classes; safe to call from several threads.

        Args:
            images: a path, the bytes of a file, an open file, a Pillow image, or a uint8 array (H, W) or (H, W, 3); or
                several. Images are rotated as their EXIF data say, Pillow images too.
            topk: classes per image, or all of them where there are fewer.
            batch_size: images per forward.

        Returns:
            The guesses for one image, the most probable first; or such a list for each of several.

        Raises:
            EANError: for an image that cannot be read, a value that is not an image, or a topk below 1.
        """
        if is_single(images):
            return next(self.stream([to_image(images)], topk=topk, batch_size=1))
        return list(self.stream(map(to_image, as_iterable(images)), topk=topk, batch_size=batch_size))

    def stream(self, images: Iterable[Image.Image], *, topk: int, batch_size: int) -> Iterator[list[Guess]]:
        """The guesses for one image after the other; only a batch is in memory at a time."""
        for name, value in (("topk", topk), ("batch_size", batch_size)):
            if type(value) is not int or not 1 <= value <= sys.maxsize:
                raise EANError(f"{name} must be a whole number of at least 1, got {value!r}")
        pixels = map(self.model.pixels, images)
        while batch := list(islice(pixels, batch_size)):
            scores, indices = self.model.outputs(batch).softmax(dim=1).topk(min(topk, len(self.classes)))
            for row, classes in zip(scores.tolist(), indices.tolist(), strict=True):
                yield [Guess(self.classes[i], score, i) for score, i in zip(row, classes, strict=True)]

    def draw(
        self,
        images: ImageLike | Iterable[ImageLike],
        output: str | Path = "seen.png",
        *,
        target: str | int | None = None,
        stage: int = -1,
    ) -> Path:
        """Draw each image with a heatmap of what speaks for a class (Grad-CAM).

        Args:
            images: as for `predict`.
            output: the picture, a .png.
            target: a class by name or number; default the most probable one of each image.
            stage: index of the stage whose output is explained.

        Raises:
            EANError: for an image that cannot be read, no image, an unknown class or stage, or an output that is not a
                .png or is one of the images.
        """
        from ean_core.inference.explain.gallery import check_picture, explain

        check_picture(output)
        sources = [images] if is_single(images) else list(as_iterable(images))
        if any(isinstance(image, str | Path) and Path(output).resolve() == Path(image).resolve() for image in sources):
            raise EANError(f"the picture would be written over the image {output}: give another output")
        named = ((image_name(image, number), to_image(image), None) for number, image in enumerate(sources, start=1))
        return explain([self.model], named, output, target=target, stage=stage).path


def load(path: str | Path, *, device: str | None = None, config: str | Path | None = None) -> Any:
    """Load a trained network of any task, for images of any source.

    Args:
        path: a classifier.pth or supernet.pth, a counter's best.pth or, with a config, a segmentor's last.pth; the
            .safetensors made of one; or the name of a shipped model (`ean_core.models()`). A file is read as weights
            only: it cannot run code.
        device: default CUDA where there is one.
        config: of the segmentor; it is a program and runs.

    Returns:
        A `Predictor` for a classifier, a `CountPredictor` for a counter, a `SegmentPredictor` for a segmentor. Their
        `predict` takes an image or several, and gives classes, a number of people, or an array of labels for each.

    Raises:
        EANError: if the file is missing, damaged, or no network.
    """
    model = load_file(path, device=device, config=config)
    return (model.make_predictor or Predictor)(model)
