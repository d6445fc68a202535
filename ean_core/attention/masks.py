"""What mask an attention call applied, whether the module gives its mask or only recalibrated features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ean_core.attention.base import Attention, State
from ean_core.attention.wrapped_module import WrappedModule


def masks_of(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> tuple[Tensor, Tensor]:
    """An attention's mask for every image and channel (B, C), its mean over positions, and where it is known (bool).

    An attention that gives no mask, only recalibrated features, has for a mask the scale of each image's channel that
    comes nearest to what it does (least squares): exact for a channel's gate. Nothing is known of that scale where a
    channel is zero everywhere.

    Args:
        module: the attention.
        inputs: of its forward pass: the residual (B, C, H, W), and the state if it takes one.
        output: of its forward pass; not needed, and may be None, for one that `gives_mask`.
    """
    residual: Tensor = inputs[0]
    if gives_mask(module):
        state: State = inputs[1] if len(inputs) > 1 else None
        return channel_masks(module.mask(residual, state)[0], residual)
    return nearest_masks(residual, output[0] if isinstance(output, tuple) else output)


def channel_masks(mask: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """A mask averaged over positions (B, C), float32, and where it is known: everywhere."""
    means = mask.float().mean(dim=(2, 3)).expand(residual.shape[:2])
    return means, torch.ones_like(means, dtype=torch.bool)


def nearest_masks(residual: Tensor, recalibrated: Tensor) -> tuple[Tensor, Tensor]:
    """The scales (B, C), float32, that bring `residual` nearest to `recalibrated` (least squares), and where known."""
    scale, known = nearest_scale(residual.float(), recalibrated.float(), dim=(2, 3))
    return scale.flatten(1), known.flatten(1)


def nearest_scale(x: Tensor, y: Tensor, *, dim: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The factor, one for all positions along `dim`, that brings `x` nearest to `y` (least squares).

    Returns:
        the factors, of size 1 along `dim`, and where they are known (bool): not where `x` is zero.
    """
    energy = x.square().sum(dim, keepdim=True)
    return (x * y).sum(dim, keepdim=True) / energy.clamp(min=1e-12), energy > 1e-12


def only_multiplies(module: nn.Module) -> bool:
    """Whether calling an attention module is multiplying by its mask and nothing else."""
    return type(module).forward is Attention.forward


def gives_mask(module: nn.Module) -> bool:
    """Whether an attention module says its mask."""
    return (
        isinstance(module, Attention)
        and not isinstance(module, WrappedModule)
        and type(module).mask is not Attention.mask
    )
