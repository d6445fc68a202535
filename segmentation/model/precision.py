"""Mixed precision on CPUs, which MMEngine's AmpOptimWrapper refuses although torch's autocast supports them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16, weights and updates in float32; losses need no scaling, as the range is float32's."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The wrapper's context, under bfloat16 autocast."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
