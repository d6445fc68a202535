"""The counter as an MMEngine model, with normalization, loss and validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from crowd_counting.data.points import CrowdImage
from crowd_counting.metrics import ImageErrors, image_errors
from crowd_counting.model.losses import Loss, Target
from crowd_counting.model.network import Counter
from crowd_counting.model.zero_inflated import ZeroInflated
from ean_core.data.normalize import Normalize
from ean_core.scheme import Scheme
from ean_core.supernet.paths import forget_path_in_state
from ean_core.training.classifier import autocast_for


class CountingModel(BaseModel):
    """Processes the batches of `CrowdLoader`, in the same way in training and validation.

    Args:
        counter: maps normalized images to densities.
        normalize: maps uint8 images to the counter's input.
        loss: a loss of `crowd_counting.model.losses`.
        precision: precision of the network, "float32" or "bfloat16"; maps and losses are float32.
    """

    def __init__(
        self, counter: Counter, normalize: Normalize, loss: Loss | None = None, *, precision: str = "float32"
    ) -> None:
        super().__init__()
        self.counter, self.normalize, self.loss, self.precision = counter, normalize, loss, precision

    def forward(
        self,
        inputs: Tensor,
        sizes: Tensor,
        points: Sequence[Tensor],
        images: Sequence[CrowdImage],
        sigmas: Sequence[Tensor] | None = None,
        density: Tensor | None = None,
        mode: str = "tensor",
    ) -> dict[str, Tensor] | list[ImageErrors] | Tensor:
        """Return losses, `ImageErrors`, or densities (B, h, w), depending on MMEngine's mode."""
        if mode == "loss":
            target = Target(points, sizes, self.counter.stride, sigmas, density)
            return self.losses(self.predicted(inputs, sizes), target)
        predicted = self.density(inputs, sizes)
        return self.errors(predicted, sizes, images) if mode == "predict" else predicted

    def density(self, inputs: Tensor, sizes: Tensor) -> Tensor:
        """Map padded uint8 images (B, 3, H, W) to heads per cell, float32 (B, h, w), zero in the padding."""
        images = self.images(inputs, sizes)
        with autocast_for(inputs.device, self.precision):
            predicted = self.counter(images)[:, 0]
        return predicted.float() * self.inside(sizes, predicted)

    def predicted(self, inputs: Tensor, sizes: Tensor) -> Tensor | ZeroInflated:
        """What the loss takes: `density`, or a zero-inflated head's distribution, whose rate is 0 in the padding."""
        if not (self.loss and self.loss.zero_inflated):
            return self.density(inputs, sizes)
        images = self.images(inputs, sizes)
        with autocast_for(inputs.device, self.precision):
            rate, logit = (maps[:, 0].float() for maps in self.counter.distribution(images))
        return ZeroInflated(rate * self.inside(sizes, rate), logit)

    def images(self, inputs: Tensor, sizes: Tensor) -> Tensor:
        """Normalize padded uint8 images (B, 3, H, W)."""
        # The padding is zero after normalization, as in `Counter.forward`, so that training and testing agree.
        return self.normalize(inputs) * inside_mask(sizes, inputs.shape[-2:])[:, None]

    def inside(self, sizes: Tensor, maps: Tensor) -> Tensor:
        """A mask float32 (B, h, w) of the cells of maps (B, h, w) that are not padding."""
        return inside_mask(-(-sizes // self.counter.stride), maps.shape[-2:])

    def losses(self, predicted: Tensor | ZeroInflated, target: Target) -> dict[str, Tensor]:
        """The loss, and for the log the mean absolute count error per crop, in people."""
        assert self.loss is not None
        density = predicted.expected() if isinstance(predicted, ZeroInflated) else predicted
        heads = density.new_tensor([len(points) for points in target.points])
        error = (density.detach().sum(dim=(1, 2)) - heads).abs().mean()
        return {"loss": self.loss(predicted, target), "crop_mae": error}

    def errors(self, predicted: Tensor, sizes: Tensor, images: Sequence[CrowdImage]) -> list[ImageErrors]:
        """The errors of each whole image, against all its annotated points."""
        stride, rows = self.counter.stride, []
        for map_, size, image in zip(predicted.double().cpu(), sizes.tolist(), images, strict=True):
            height, width = (-(-side // stride) for side in size)
            density = map_[:height, :width].numpy()
            rows.append(image_errors(image.name, density, image.points, stride=stride, part=image.part))
        return rows


class SupernetCountingModel(CountingModel):
    """A supernet: losses are the mean over the step's paths (one in the paper, several under the sandwich rule).

    `DrawPaths` sets `paths` before every step.
    """

    paths: Sequence[Scheme] = ()

    def __init__(self, counter: Counter, normalize: Normalize, loss: Loss, *, precision: str = "float32") -> None:
        super().__init__(counter, normalize, loss, precision=precision)
        forget_path_in_state(self)

    @property
    def network(self) -> Counter:
        """The network whose path `DrawPaths` draws."""
        return self.counter

    def forward(self, *batch: Any, mode: str = "tensor", **rest: Any) -> dict[str, Tensor] | list[ImageErrors] | Tensor:
        """As `CountingModel.forward`; the losses are averaged over `paths`."""
        if mode != "loss":
            return super().forward(*batch, mode=mode, **rest)
        each = []
        for path in self.paths:
            self.counter.set_scheme(path)
            each.append(super().forward(*batch, mode=mode, **rest))
        return {name: torch.stack([losses[name] for losses in each]).mean() for name in each[0]}


def inside_mask(sizes: Tensor, shape: Sequence[int]) -> Tensor:
    """A mask float32 (B, *shape), 1 inside each image and 0 in its padding, for sizes (B, 2) as (H, W)."""
    rows = torch.arange(shape[0], device=sizes.device) < sizes[:, :1]  # (B, H)
    columns = torch.arange(shape[1], device=sizes.device) < sizes[:, 1:]  # (B, W)
    return (rows[:, :, None] & columns[:, None, :]).float()


@torch.no_grad()
def evaluate(model: CountingModel, batches: Any) -> list[ImageErrors]:
    """The errors of all images of a loader, in the loader's order; sets eval mode."""
    model.eval()
    return [row for batch in batches for row in model(**batch, mode="predict")]
