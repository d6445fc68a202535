"""Find NaN and infinity in tensors, with a single synchronization for any number of tensors."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """The name of the first floating-point tensor that holds NaN or infinity; None if there is none."""
    floating = [(name, value.detach()) for name, value in tensors if value.is_floating_point() or value.is_complex()]
    if not floating:
        return None
    floating = [(name, value.float() if value.element_size() == 1 else value) for name, value in floating]
    flags = torch.stack([value.isfinite().all().to(floating[0][1].device) for _, value in floating])
    return next((name for (name, _), finite in zip(floating, flags.tolist(), strict=True) if not finite), None)


def first_not_finite_in(module: nn.Module) -> str | None:
    """The name of a module's first parameter or buffer with NaN or infinity; None if there is none."""
    return first_not_finite((*module.named_parameters(), *module.named_buffers()))
