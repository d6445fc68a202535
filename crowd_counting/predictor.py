"""Using a trained counter in Python: what `ean_core.load` returns for a counter's file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from torch import Tensor

from crowd_counting.density_overlay import color_by_density
from crowd_counting.model.network import Counter
from crowd_counting.model.tiles import predict_density
from crowd_counting.model.training_model import CountingModel
from ean_core.data.normalize import Normalize
from ean_core.inference.count_errors import CountErrors
from ean_core.inference.image_arguments import ImageLike, for_each, to_image
from ean_core.inference.loaded_model import LoadedModel
from ean_core.utils.checked_dataclasses import checked


class CountPredictor:
    """A counter for images of any source and size.

    Args:
        model: the loaded counter.
    """

    def __init__(self, model: LoadedModel) -> None:
        assert isinstance(model.network, Counter)
        self.model = model
        normalize = Normalize(model.prepare.mean, model.prepare.std)
        self.counter = CountingModel(model.network, normalize).to(model.device).eval()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model}>"

    def predict(self, images: ImageLike | Iterable[ImageLike]) -> float | list[float]:
        """The number of people in an image, or a list of such numbers.

        Args:
            images: as for `ean_core.inference.predictor.Predictor.predict`.

        Raises:
            EANError: for an image that cannot be read, or a value that is not an image.
        """
        return for_each(images, lambda image: float(self.density(image).sum()))

    def show(self, image: ImageLike) -> tuple[str, np.ndarray]:
        """The number of people in words, and the image colored by density, uint8 (H, W, 3).

        Where the file knows the counter's errors by count, the words say how far off the number may be.
        """
        pixels = np.asarray(to_image(image))
        density = predict_density(self.counter, pixels)[0]
        picture = color_by_density(pixels, density.numpy(), stride=self.counter.counter.stride)
        count = float(density.sum())
        off = self._errors.describe(count) if self._errors else ""
        people = f"{round(count):,} {'person' if round(count) == 1 else 'people'}"
        return f"about {people}{f' ({off})' if off else ''}", picture

    @cached_property
    def _errors(self) -> CountErrors | None:
        """Those of a counter that comes with the project."""
        about = self.model.content.get("about") or {}
        where = f"{self.model.path}: about.count_errors"
        return checked(CountErrors | None, about.get("count_errors"), where=where, advice="install the project again")

    def density(self, image: ImageLike) -> Tensor:
        """People per cell of an image, float32 (ceil(H / stride), ceil(W / stride)); the sum is the count."""
        return predict_density(self.counter, np.asarray(to_image(image)))[0]
