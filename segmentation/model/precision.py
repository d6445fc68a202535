"""Mixed precision where MMEngine has none: its AmpOptimWrapper refuses CPUs, and torch's autocast does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16, weights and steps in float32. Its range is float32's, so losses are not scaled."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """As the base, under autocast."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
