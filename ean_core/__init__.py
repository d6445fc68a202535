"""Efficient Attention Network: search where in a network attention pays (https://arxiv.org/abs/2011.14058)."""

from ean_core.errors import EANError
from ean_core.networks import count_parameters, create_model
from ean_core.networks.weights import load_torchvision_weights
from ean_core.scheme import Scheme

__all__ = ["EANError", "Scheme", "count_parameters", "create_model", "load_torchvision_weights"]
