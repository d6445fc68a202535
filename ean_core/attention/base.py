"""What every attention module looks like to a stage: residual in, recalibrated residual and state out."""

from __future__ import annotations

from torch import Tensor, nn

State = tuple[Tensor, Tensor] | None
"""What a recurrent attention hands from one connected block to the next one of its stage; None at the start."""


class Attention(nn.Module):
    """Base of the modules M(.; W) of Eq. 2 to 4.

    A subclass writes `mask`; the recalibration is the element-wise product.
    """

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """The mask, broadcastable to `residual` (B, C, H, W), and the state for the next connected block."""
        raise NotImplementedError

    def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
        """M(residual) * residual, and the state for the next connected block of the stage."""
        mask, state = self.mask(residual, state)
        return residual * mask, state
