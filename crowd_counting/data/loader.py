"""Batches of views for training and of whole images for evaluation, decoded by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from crowd_counting.data.crops import View, draw_view
from crowd_counting.data.density_cache import DensityCache
from crowd_counting.data.points import CrowdImage
from crowd_counting.density import Kernel, inside
from crowd_counting.recipe import DataRecipe
from ean_core.data.loader import Loader, Plan
from ean_core.data.read_image import read_image
from ean_core.data.seeding import generator_for
from ean_core.utils.errors import EANError

Batch = dict[str, Any]


class CrowdLoader(Loader):
    """Gives batches, epoch after epoch; a view depends on seed, epoch and image only.

    A batch is {"inputs": uint8 (B, 3, H, W), zero in the padding at the right and the bottom, "sizes": int64 (B, 2),
    each image's (H, W) without it, "points": B tensors float32 (N_i, 2), "sigmas": B tensors float32 (N_i,) or None
    for dots, "density": float32 (B, h, w) or None if maps are rendered, "images": the B `CrowdImage`s}.

    Args:
        images: to draw from.
        plan: batch size, order, seed, and this process's share.
        recipe: how training images are shown; evaluation shows them whole.
        stride: pixels per cell; images are padded to whole cells.
        device: where tensors end up.
        cache: maps in place of rendering.
    """

    def __init__(
        self,
        images: Sequence[CrowdImage],
        plan: Plan,
        recipe: DataRecipe,
        *,
        stride: int,
        device: str | torch.device = "cpu",
        cache: DensityCache | None = None,
    ) -> None:
        super().__init__(torch.arange(len(images)), plan)
        if recipe.workers < 0:
            raise EANError(f"data.workers must be 0 or more, got {recipe.workers}")
        self._images, self._recipe, self._stride = tuple(images), recipe, stride
        self._device, self._cache = torch.device(device), cache
        kernel = Kernel.parse(recipe.kernel)
        self._points = [image.points[inside(image.points, image.size)] for image in self._images]
        # On whole images: the neighbours of a head are its neighbours in every crop.
        self._sigmas = [kernel.sigmas(points) for points in self._points]

    def _batches(self, epoch: int) -> Iterator[Batch]:
        order = self._plan.order(len(self._images), self._generator(epoch))
        if not self._recipe.workers:
            yield from (self._moved(self._batch(epoch, part.tolist())) for part in order)
            return
        with ThreadPoolExecutor(self._recipe.workers) as threads:
            waiting: deque[Future[Batch]] = deque()
            for part in order:
                waiting.append(threads.submit(self._batch, epoch, part.tolist()))
                if len(waiting) > self._recipe.workers:
                    yield self._moved(waiting.popleft().result())
            while waiting:
                yield self._moved(waiting.popleft().result())

    def _batch(self, epoch: int, indices: list[int]) -> Batch:
        """A batch on the CPU."""
        views = [self._view(epoch, index) for index in indices]
        pictures = [
            view.of_image(read_image(self._images[index].path)) for view, index in zip(views, indices, strict=True)
        ]
        height, width = (self._side(max(picture.shape[axis] for picture in pictures)) for axis in (1, 2))
        points, sigmas, maps = [], [], []
        for view, index in zip(views, indices, strict=True):
            moved, kept = view.of_points(self._points[index])
            points.append(torch.from_numpy(moved))
            if (spread := self._sigmas[index]) is not None:
                sigmas.append(torch.from_numpy(spread[kept] * np.float32(view.scale)))
            if self._cache is not None:
                density = view.of_density(self._cache[self._images[index].name], stride=self._stride)
                maps.append(padded(density, -(-height // self._stride), -(-width // self._stride)))
        return {
            "inputs": torch.stack([padded(picture, height, width) for picture in pictures]),
            "sizes": torch.tensor([picture.shape[1:] for picture in pictures]),
            "points": points,
            "sigmas": sigmas or None,
            "density": torch.stack(maps) if maps else None,
            "images": [self._images[index] for index in indices],
        }

    def _view(self, epoch: int, index: int) -> View:
        size, recipe = self._images[index].size, self._recipe
        if not self._plan.train:
            return View.whole(size)
        return draw_view(
            size,
            generator_for(self._plan.seed, epoch, index),
            crop=recipe.crop,
            scales=(recipe.scale_min, recipe.scale_max),
            flip=recipe.flip,
            align=1 if self._cache is None else self._stride,
        )

    def _side(self, longest: int) -> int:
        """Of the padded batch: the crop's side when training with crops, else the longest in whole cells."""
        if self._plan.train and self._recipe.crop is not None:
            return self._recipe.crop
        return -(-longest // self._stride) * self._stride

    def _moved(self, batch: Batch) -> Batch:
        """The batch on the loader's device."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(self._device, non_blocking=True)
            return [move(one) for one in value] if isinstance(value, list) else value

        return {name: move(value) for name, value in batch.items()}


def padded(picture: Tensor, height: int, width: int) -> Tensor:
    """(.., H, W) with zeros at the right and the bottom -> (.., height, width)."""
    return F.pad(picture, (0, width - picture.shape[-1], 0, height - picture.shape[-2]))
