"""How timm's residual networks are taken apart into a stem, stages of blocks, and a head: a family a function.

https://github.com/huggingface/pytorch-image-models. A block can be adapted if it adds shortcut and residual at its end,
or has no shortcut, and if what follows the addition is one activation, the same in all blocks, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from ean_core.networks.stage import Activation
from ean_core.utils.errors import EANError, first_line

PREFIX = "timm:"

# Layers of a block's residual branch, in the order in which they run.
_BASIC = ("conv1", "bn1", "drop_block", "act1", "aa", "conv2", "bn2", "se", "drop_path")
_BOTTLENECK = ("conv1", "bn1", "act1", "conv2", "bn2", "drop_block", "act2", "aa", "conv3", "bn3", "se", "drop_path")
_REGNET = ("conv1", "conv2", "se", "conv3", "drop_path")
_INVERTED = ("conv_pw", "bn1", "conv_dw", "bn2", "aa", "se", "conv_pwl", "bn3", "drop_path")  # bn1 and bn2 activate too
_SEPARABLE = ("conv_dw", "bn1", "aa", "se", "conv_pw", "bn2", "drop_path")
_EDGE = ("conv_exp", "bn1", "aa", "se", "conv_pwl", "bn2", "drop_path")

_WHY_NOT = {
    "ResNetV2": "it normalizes before its convolutions (pre-activation)",
    "NormFreeNet": "it has scaled sums of residuals in place of normalization",
    "ByobNet": "its blocks are built from a list of parts and end with several activations",
    "ConvNeXt": "it scales its residuals and normalizes layers",
    "MobileNetV3": "its head pools before its last convolution",
    "GhostNet": "its blocks join two halves, one computed from the other",
    "RexNet": "its shortcuts hold only a part of the channels",
    "SENet": "it is timm's older copy of seresnet, which timm:seresnet50 and its like replace",
}


@dataclass(frozen=True)
class Layout:
    """The parts of a timm network.

    Attributes:
        stem: name -> layer, in the order in which they run.
        stages: the blocks of each stage.
        channels: output channels of each stage.
        order: block class -> names of the layers of its residual branch.
        fc: the linear layer.
        head: name -> layer between the last stage and the pooling, in the order in which they run.
        activation: what follows the addition at the end of a block.
        family: "imagenet", or "mobile" for blocks with few output channels; chooses the attention's default options.
    """

    stem: dict[str, nn.Module]
    stages: tuple[tuple[nn.Module, ...], ...]
    channels: tuple[int, ...]
    order: Mapping[type, tuple[str, ...]]
    fc: nn.Module
    head: dict[str, nn.Module] = field(default_factory=dict)
    activation: Activation = torch.relu_
    family: str = "imagenet"


def take_apart(network: nn.Module, name: str) -> Layout:
    """Take a timm network apart.

    Raises:
        EANError: if it is not supported, with the reason.
    """
    from timm.models import efficientnet, regnet, resnet

    families = {
        resnet.ResNet: take_apart_resnet,
        regnet.RegNet: take_apart_regnet,
        efficientnet.EfficientNet: take_apart_efficientnet,
    }
    kind = type(network)
    if kind not in families:
        raise cannot(name, _WHY_NOT.get(kind.__name__, f"it is a {kind.__name__}, not a supported residual network"))
    pool = network.head.global_pool if kind is regnet.RegNet else network.global_pool
    if pool.pool_type != "avg":
        raise cannot(name, "its last features are not averaged")
    return families[kind](network, name)


def take_apart_resnet(network: nn.Module, name: str) -> Layout:
    """ResNet, ResNeXt, wide and SE-ResNet and their variants: blocks end with an activation."""
    from timm.models.resnet import BasicBlock, Bottleneck

    stages = blocks_of([network.layer1, network.layer2, network.layer3, network.layer4])
    order = {BasicBlock: _BASIC, Bottleneck: _BOTTLENECK}
    check_blocks(stages, order, name)
    return Layout(
        stem={layer: network.get_submodule(layer) for layer in ("conv1", "bn1", "act1", "maxpool")},
        stages=stages,
        channels=tuple(info["num_chs"] for info in network.feature_info[-4:]),
        order=order,
        fc=network.fc,
        activation=last_activation(stages, name),
    )


def take_apart_regnet(network: nn.Module, name: str) -> Layout:
    """RegNetX and RegNetY, and RegNetZ, whose blocks end without an activation; Z has blocks without a shortcut."""
    from timm.models.regnet import Bottleneck

    stages = blocks_of([network.s1, network.s2, network.s3, network.s4])
    check_blocks(stages, {Bottleneck: _REGNET}, name)
    return Layout(
        stem={"stem": network.stem},
        stages=stages,
        channels=tuple(info["num_chs"] for info in network.feature_info[-4:]),
        order={Bottleneck: _REGNET},
        fc=network.head.fc,
        head=without_identities({"final_conv": network.final_conv}),
        activation=last_activation(stages, name),
    )


def take_apart_efficientnet(network: nn.Module, name: str) -> Layout:
    """EfficientNet, EfficientNet-Lite, MobileNetV2, MNASNet: blocks end without an activation.

    Where the shape changes, a block has no shortcut.
    """
    from timm.models._efficientnet_blocks import DepthwiseSeparableConv, EdgeResidual, InvertedResidual

    order = {InvertedResidual: _INVERTED, DepthwiseSeparableConv: _SEPARABLE, EdgeResidual: _EDGE}
    stages = blocks_of(list(network.blocks))
    check_blocks(stages, order, name)
    for block in (block for stage in stages for block in stage):
        if getattr(block, "has_pw_act", False):
            raise cannot(name, "some of its blocks activate before the addition")
        if getattr(block, "conv_s2d", None) is not None:
            raise cannot(name, "some of its blocks turn positions into channels")
    last_layers = [getattr(stage[-1], "conv_pwl", None) or stage[-1].conv_pw for stage in stages]
    return Layout(
        stem={"conv_stem": network.conv_stem, "bn1": network.bn1},
        stages=stages,
        channels=tuple(layer.out_channels for layer in last_layers),
        order=order,
        fc=network.classifier,
        head=without_identities({"conv_head": network.conv_head, "bn2": network.bn2}),
        activation=nn.Identity(),
        family="mobile",
    )


def blocks_of(stages: Sequence[nn.Module]) -> tuple[tuple[nn.Module, ...], ...]:
    """The blocks of every stage."""
    return tuple(tuple(stage.children()) for stage in stages)


def check_blocks(stages: Sequence[Sequence[nn.Module]], order: Mapping[type, tuple[str, ...]], name: str) -> None:
    """Refuse a network with blocks of a class that `order` lacks.

    Raises:
        EANError: with the first such class.
    """
    for block in (block for stage in stages for block in stage):
        if type(block) not in order:
            raise cannot(name, f"its blocks are {type(block).__name__}, which mix or order their layers otherwise")


def last_activation(stages: Sequence[Sequence[nn.Module]], name: str) -> Activation:
    """What the blocks of a ResNet or RegNet end with.

    Raises:
        EANError: if the activation has weights, or differs from block to block.
    """
    last = [getattr(block, "act3", None) or block.act2 for stage in stages for block in stage]
    kinds = {type(activation) for activation in last}
    if len(kinds) > 1 or list(last[0].parameters()):
        raise cannot(name, f"its blocks end with {' or '.join(sorted(kind.__name__ for kind in kinds))}")
    return torch.relu_ if kinds == {nn.ReLU} else last[0]


def without_identities(layers: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The layers that do something."""
    return {name: layer for name, layer in layers.items() if not isinstance(layer, nn.Identity)}


def cannot(name: str, reason: str) -> EANError:
    """The error for an unsupported network."""
    return EANError(
        f"architecture '{PREFIX}{name}' cannot be adapted: {reason}, but attention needs blocks that end with shortcut "
        "+ residual, and no more than an activation after it; use one of timm's resnet, resnext, wide_resnet, "
        "seresnet, regnetx, regnety, tf_efficientnet_lite0, mobilenetv2 or mnasnet"
    )


def make_timm(name: str, **options: Any) -> nn.Module:
    """`timm.create_model` for a known name, with or without the tag of its weights (resnet50.a1_in1k).

    Raises:
        EANError: if timm has no such network, or cannot build or download it.
    """
    check_name(name)
    import timm

    try:
        return timm.create_model(name, **options)
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError) as error:
        raise EANError(f"timm cannot build {name!r} ({first_line(error)}): give another architecture") from None


def check_name(name: str) -> None:
    """Refuse a name that is not one of timm's networks; timm itself would look one with a colon up on a hub.

    Raises:
        EANError: if timm has no such network.
    """
    import timm

    models = timm.list_models()
    if name.split(".")[0] not in models:
        near = ", ".join(repr(PREFIX + model) for model in get_close_matches(name, models, n=3)) or "timm:resnet50"
        raise EANError(f"unknown architecture '{PREFIX}{name}': did you mean {near}? timm.list_models() names all")
