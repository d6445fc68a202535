"""Networks with attention, and their files. Fast inference of trained networks is in `ean_core.deploy`."""

from __future__ import annotations

from ean_core.networks.architectures import ARCHITECTURES, is_timm, stage_strides, stages_blocks
from ean_core.networks.base import StagedNetwork
from ean_core.networks.create import create_model
from ean_core.networks.resnet import ResNet, count_parameters, input_shape

__all__ = [
    "ARCHITECTURES",
    "ResNet",
    "StagedNetwork",
    "count_parameters",
    "create_model",
    "input_shape",
    "is_timm",
    "stage_strides",
    "stages_blocks",
]
