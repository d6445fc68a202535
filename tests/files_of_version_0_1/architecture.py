"""The architecture of the files here: so few weights that they can lie in the repository."""

from __future__ import annotations

from typing import Any

from ean_core.networks import ARCHITECTURES


def tiny() -> dict[str, Any]:
    """Its entry in `ARCHITECTURES`: as resnet20, with four blocks and half the channels."""
    return {**ARCHITECTURES["resnet20"], "depths": (2, 1, 1), "widths": (8, 8, 8)}
