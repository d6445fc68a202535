"""Using a trained classifier: open its file, name what is in photos, and draw where it looks.

import ean_core

net = ean_core.load("classifier.pth")
print(net.predict("photo.jpg"))
net.draw("photo.jpg", output="seen.png")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from ean_core.data.decode import as_rgb
from ean_core.inference.images import open_photo
from ean_core.inference.loaded_model import Opened, open_file
from ean_core.utils.errors import EANError

PhotoLike = str | Path | Image.Image | np.ndarray


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
    """A classifier that takes photos.

    Args:
        opened: its file.
    """

    def __init__(self, opened: Opened) -> None:
        if opened.kind != "classifier":
            raise EANError(f"{opened.path} is a {opened.kind}, not a classifier: give a classifier.pth")
        self.opened = opened

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the outputs."""
        return self.opened.classes

    def predict(
        self, photos: PhotoLike | Iterable[PhotoLike], *, topk: int = 5, batch_size: int = 64
    ) -> list[Guess] | list[list[Guess]]:
        """The most probable classes.

        Args:
            photos: a file, a Pillow image, or a uint8 array (H, W) or (H, W, 3); or several.
            topk: classes per photo, or all of them where there are fewer.
            batch_size: photos per forward.

        Returns:
            The guesses for one photo, the most probable first; or such a list for each of several.

        Raises:
            EANError: for a photo that cannot be read, or a topk below 1.
        """
        if isinstance(photos, PhotoLike):
            return next(self.stream([to_photo(photos)], topk=topk, batch_size=1))
        return list(self.stream(map(to_photo, photos), topk=topk, batch_size=batch_size))

    def stream(self, photos: Iterable[Image.Image], *, topk: int, batch_size: int) -> Iterator[list[Guess]]:
        """The guesses for photo after photo; only a batch of them is in memory."""
        if topk < 1 or batch_size < 1:
            raise EANError(f"topk and batch_size must be at least 1, got {topk} and {batch_size}")
        views = map(self.opened.pixels, photos)
        while batch := list(islice(views, batch_size)):
            scores, indices = self.opened.outputs(batch).softmax(dim=1).topk(min(topk, len(self.classes)))
            for some, where in zip(scores.tolist(), indices.tolist(), strict=True):
                yield [Guess(self.classes[i], score, i) for score, i in zip(some, where, strict=True)]

    def draw(
        self,
        photos: PhotoLike | Sequence[PhotoLike],
        output: str | Path = "seen.png",
        *,
        target: str | None = None,
        stage: int = -1,
    ) -> Path:
        """Draw each photo and, over it, where the network finds what speaks for a class (Grad-CAM).

        Args:
            photos: as for `predict`.
            output: the picture, a .png.
            target: a class by name or number; default the most probable one of each photo.
            stage: whose output is looked at, as an index into the stages.

        Raises:
            EANError: for a photo that cannot be read, an unknown class, or a missing package.
        """
        from ean_core.inference.explain.gallery import explain

        several = [photos] if isinstance(photos, PhotoLike) else list(photos)
        named = [(photo_name(one, number), to_photo(one), None) for number, one in enumerate(several, start=1)]
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
    return Predictor(open_file(path, device=device))


def to_photo(photo: PhotoLike) -> Image.Image:
    """A file, a Pillow image or an array as RGB."""
    if isinstance(photo, str | Path):
        return open_photo(photo)
    if isinstance(photo, np.ndarray):
        fits = photo.dtype == np.uint8 and (photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] in (3, 4)))
        if not fits:
            raise EANError(
                f"a photo is an array {photo.dtype} of shape {photo.shape}: give uint8 (H, W), (H, W, 3) or (H, W, 4)"
            )
        photo = Image.fromarray(photo)
    return as_rgb(photo)


def photo_name(photo: PhotoLike, number: int) -> str:
    """What a picture calls a photo."""
    return Path(photo).name if isinstance(photo, str | Path) else f"photo {number}"
