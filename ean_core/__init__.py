"""Efficient Attention Network: search where in a network attention pays (https://arxiv.org/abs/2011.14058)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ean_core.inference.predictor import load
    from ean_core.inference.shipped_models import models
    from ean_core.networks import count_parameters, create_model
    from ean_core.networks.pretrained import load_torchvision_weights
    from ean_core.networks.save import save
    from ean_core.scheme import Scheme
    from ean_core.utils.errors import EANError

__version__ = "0.1.0"
__all__ = [
    "EANError",
    "Scheme",
    "count_parameters",
    "create_model",
    "load",
    "load_torchvision_weights",
    "models",
    "save",
]

_HOME = {
    "EANError": "ean_core.utils.errors",
    "Scheme": "ean_core.scheme",
    "count_parameters": "ean_core.networks",
    "create_model": "ean_core.networks",
    "load": "ean_core.inference.predictor",
    "load_torchvision_weights": "ean_core.networks.pretrained",
    "models": "ean_core.inference.shipped_models",
    "save": "ean_core.networks.save",
}


def __getattr__(name: str) -> Any:
    """Import torch when a name is first used, not before: a command's --help must answer at once."""
    if name not in _HOME:
        raise AttributeError(f"module 'ean_core' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """The public names, most of which are not imported yet."""
    return sorted([*__all__, "__version__"])
