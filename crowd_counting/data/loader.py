"""Batches of crops for training and of whole images for evaluation, decoded by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from crowd_counting.data.crops import Crop, random_crop
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
    """Yields batches epoch after epoch; a crop depends only on the seed, the epoch and the image.

    A batch is {"inputs": uint8 (B, 3, H, W), zero-padded at the right and bottom, "sizes": int64 (B, 2), each image's
    (H, W) without the padding, "points": B tensors float32 (N_i, 2), "sigmas": B tensors float32 (N_i,) or None
    for dots, "density": float32 (B, h, w), or None if maps are to be rendered, "images": the B `CrowdImage`s}.

    Args:
        images: images to load.
        plan: batch size, order, seed, and this process's share of the images.
        recipe: crop and augmentation settings for training; evaluation uses whole images.
        stride: pixels per cell of the density map; images are padded to whole cells.
        device: device of the batches.
        cache: density maps to use instead of rendering.
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
        # Computed on whole images, so that a head's neighbors do not depend on the crop.
        self._sigmas = [kernel.sigmas(points) for points in self._points]

    def _batches(self, epoch: int) -> Iterator[Batch]:
        order = self._plan.order(len(self._images), self._generator(epoch))
        if not self._recipe.workers:
            yield from (self._to_device(self._batch(epoch, indices.tolist())) for indices in order)
            return
        with ThreadPoolExecutor(self._recipe.workers) as threads:
            pending: deque[Future[Batch]] = deque()
            for indices in order:
                pending.append(threads.submit(self._batch, epoch, indices.tolist()))
                if len(pending) > self._recipe.workers:
                    yield self._to_device(pending.popleft().result())
            while pending:
                yield self._to_device(pending.popleft().result())

    def _batch(self, epoch: int, indices: list[int]) -> Batch:
        """Load one batch on the CPU."""
        crops = [self._crop(epoch, index) for index in indices]
        inputs = [self._pixels(epoch, index, crop) for crop, index in zip(crops, indices, strict=True)]
        height, width = (self._side(max(pixels.shape[axis] for pixels in inputs)) for axis in (1, 2))
        points, sigmas, maps = [], [], []
        for crop, index in zip(crops, indices, strict=True):
            in_crop, kept = crop.apply_to_points(self._points[index])
            points.append(torch.from_numpy(in_crop))
            if (image_sigmas := self._sigmas[index]) is not None:
                sigmas.append(torch.from_numpy(image_sigmas[kept] * np.float32(crop.scale)))
            if self._cache is not None:
                density = crop.apply_to_density(self._cache[self._images[index].name], stride=self._stride)
                maps.append(pad_to(density, -(-height // self._stride), -(-width // self._stride)))
        return {
            "inputs": torch.stack([pad_to(pixels, height, width) for pixels in inputs]),
            "sizes": torch.tensor([pixels.shape[1:] for pixels in inputs]),
            "points": points,
            "sigmas": sigmas or None,
            "density": torch.stack(maps) if maps else None,
            "images": [self._images[index] for index in indices],
        }

    def _pixels(self, epoch: int, index: int, crop: Crop) -> Tensor:
        """A crop's pixels, uint8 (3, H, W), in training sometimes without colors."""
        pixels = crop.apply_to_image(read_image(self._images[index].path))
        if not self._plan.train or not self._recipe.gray:
            return pixels
        drawn = torch.rand((), generator=generator_for(self._plan.seed, epoch, index, 1))  # not the crop's own draws
        return to_gray(pixels) if float(drawn) < self._recipe.gray else pixels

    def _crop(self, epoch: int, index: int) -> Crop:
        size, recipe = self._images[index].size, self._recipe
        if not self._plan.train:
            return Crop.full_image(size)
        return random_crop(
            size,
            generator_for(self._plan.seed, epoch, index),
            crop=recipe.crop,
            scales=(recipe.scale_min, recipe.scale_max),
            flip=recipe.flip,
            align=1 if self._cache is None else self._stride,
        )

    def _side(self, longest: int) -> int:
        """Side of the padded batch: the crop size when training on crops, else `longest` rounded up to cells."""
        if self._plan.train and self._recipe.crop is not None:
            return self._recipe.crop
        return -(-longest // self._stride) * self._stride

    def _to_device(self, batch: Batch) -> Batch:
        """Move a batch to the loader's device."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(self._device, non_blocking=True)
            return [move(item) for item in value] if isinstance(value, list) else value

        return {name: move(value) for name, value in batch.items()}


def to_gray(pixels: Tensor) -> Tensor:
    """Replace RGB (3, H, W) by its luma (ITU-R BT.601) in all three channels."""
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    return (pixels * weights).sum(dim=0, keepdim=True).round().to(pixels.dtype).expand_as(pixels)


def pad_to(values: Tensor, height: int, width: int) -> Tensor:
    """Zero-pad (.., H, W) at the right and bottom to (.., height, width)."""
    return F.pad(values, (0, width - values.shape[-1], 0, height - values.shape[-2]))
