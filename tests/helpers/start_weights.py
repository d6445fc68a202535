"""The three ways in which a task starts from weights, for tests that all of them do the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from crowd_counting.model.pretrained import load_initial_weights, make_spec, read_initial_weights
from crowd_counting.recipe import ModelRecipe
from ean_core import create_model, load_torchvision_weights
from ean_core.networks import StagedNetwork, is_timm
from segmentation.backbone import EANResNet

State = dict[str, Tensor]


def random_state(arch: str = "resnet20", **options: Any) -> State:
    """A network's weights, all away from where they start."""
    network = create_model(arch, **options)
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.1, 1.0)
    return dict(network.state_dict())


def for_classifier(source: str, arch: str = "resnet20") -> StagedNetwork:
    network = create_model(arch, num_classes=7)
    load_torchvision_weights(network, source)
    return network


def for_counter(source: str, arch: str = "resnet20") -> StagedNetwork:
    start = read_initial_weights(source, arch=arch)
    stride = 16 if is_timm(arch) else 8
    spec = make_spec(ModelRecipe(arch=arch, weights=source, stride=stride, head_channels=8), start)
    counter = spec.build()
    load_initial_weights(counter.trunk, start, spec)
    return counter.trunk


def for_segmentor(source: str, arch: str = "resnet20") -> StagedNetwork:
    backbone = EANResNet(arch, None)
    backbone.load(source)
    return backbone.network


TASKS = pytest.mark.parametrize("load", [for_classifier, for_counter, for_segmentor])
Load = Callable[..., StagedNetwork]


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}
