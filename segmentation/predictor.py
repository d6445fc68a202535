"""Using a trained segmentor in Python: what `ean_core.load` returns for a segmentor's file and config."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ean_core.data.read_image import Picture
from ean_core.inference.image_arguments import ImageLike, for_each, to_image
from ean_core.inference.loaded_model import LoadedModel
from segmentation.inference import Segmentor, class_shares
from segmentation.pictures import tinted

SHOWN = 1024
"""Pixels of the longer side of a picture that is shown."""


class SegmentPredictor:
    """A segmentor for images of any source and size.

    Args:
        model: the loaded segmentor.
        segmentor: the same network in its config's test pipeline.
    """

    def __init__(self, model: LoadedModel, segmentor: Segmentor) -> None:
        self.model, self.segmentor = model, segmentor
        segmentor.model.to(model.device)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.model.classes

    def predict(self, images: ImageLike | Iterable[ImageLike]) -> np.ndarray | list[np.ndarray]:
        """The class of every pixel of an image, uint8 (H, W), or a list of such arrays.

        Args:
            images: as for `ean_core.inference.predictor.Predictor.predict`.

        Raises:
            EANError: for an image that cannot be read, or a value that is not an image.
        """
        return for_each(images, lambda image: self._labels(Picture(to_image(image))))

    def show(self, image: ImageLike) -> tuple[str, np.ndarray]:
        """The classes of at least a percent of the pixels, in words, and the image tinted by class, uint8 (h, w, 3)."""
        picture = Picture(to_image(image))
        labels = self._labels(picture)
        shares = class_shares(labels, self.classes)
        found = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items() if share >= 0.01)
        return found, tinted(np.asarray(picture.reduced(SHOWN)), labels, self.segmentor.meta)

    def _labels(self, picture: Picture) -> np.ndarray:
        sample = self.segmentor(picture)
        return sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)
