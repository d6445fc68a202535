"""Scaling the channels of features by the weights of the layer beside them, which costs nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ean_core.utils.errors import EANError

Layer = nn.Conv2d | _BatchNorm


@torch.no_grad()
def scale_output(layer: nn.Module, scale: Tensor) -> None:
    """Multiply the output channels of a convolution or norm by `scale` (C,), in place."""
    scale = scale.to(layer.weight)
    layer.weight.mul_(scale.reshape(-1, *(1,) * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        layer.bias.mul_(scale)


@torch.no_grad()
def scale_input(convolution: nn.Conv2d, scale: Tensor) -> None:
    """Change a convolution, in place, as if its input channels were multiplied by `scale` (C,)."""
    weight = convolution.weight  # (outputs, C / groups, height, width)
    by_group = weight.unflatten(0, (convolution.groups, -1))
    scaled = by_group * scale.to(weight).reshape(convolution.groups, 1, -1, 1, 1)
    weight.copy_(scaled.flatten(0, 1))


def scale_last(block: nn.Module, scale: Tensor, *, name: str) -> None:
    """Multiply a block's residual (B, C, H, W) by `scale` (C,), in the last batch norm or convolution of its branch.

    Raises:
        EANError: if it has no such layer of C channels with weights.
    """
    layers = [
        layer
        for path, layer in block.named_modules()  # registered in the order in which they run
        if isinstance(layer, Layer) and not path.startswith("downsample")
    ]
    last = layers[-1] if layers else None
    if last is None or last.weight is None or len(last.weight) != len(scale):
        raise EANError(
            f"the block {name} does not end with a batch norm or convolution of {len(scale)} channels, so its mean "
            "mask cannot be folded: trim a network of residual blocks that do"
        )
    scale_output(last, scale)
