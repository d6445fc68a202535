"""The distribution that a head with two outputs gives for every cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ZeroInflated(NamedTuple):
    """A zero-inflated Poisson distribution of the heads in every cell, for training; each (B, 1, h, w).

    With probability pi nobody can be in the cell (a wall, the sky), else the count is Poisson with mean `rate`. ZIP
    (https://arxiv.org/abs/2506.19955) introduced it to counting, with bins of counts in place of a rate.

    Attributes:
        rate: lambda, heads per cell.
        logit: of pi.
    """

    rate: Tensor
    logit: Tensor

    def expected(self) -> Tensor:
        """The expected number of heads, (1 - pi) lambda."""
        return self.rate * torch.sigmoid(-self.logit)
