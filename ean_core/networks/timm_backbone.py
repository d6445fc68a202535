"""timm's residual networks as supernets: `timm:resnet50`, `timm:resnext50_32x4d`, `timm:regnety_016` and their like.

https://github.com/huggingface/pytorch-image-models. The adapter takes timm's network apart: its blocks return
residual and shortcut, and its stages become ours, which own the attention. So schemes, search, pruning, folding,
network files and timing work as for our own networks, and without connections the output equals timm's.

Networks whose blocks end with ReLU(shortcut + residual) are supported: those of timm's `ResNet` class with its usual
blocks (resnet, resnext, wide_resnet, seresnet, ecaresnet, resnetrs, senet154, the -c, -d, -s, -t, aa and blur variants)
and of its `RegNet` class with post-activation (regnetx, regnety): 111 of timm 1.0's names. A network's own attention
(seresnet, ecaresnet, regnety) stays part of its blocks; ours follows it. To search where SE pays off, use the network
without it, such as `timm:resnet50` with `attention="timm:se"`.

The initial weights are timm's; they start the last batch norm of every block at zero, so that a fresh network's blocks
are the identity, with or without attention.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.attention import Attention
from ean_core.networks.base import StagedNetwork
from ean_core.networks.resnet import check_sharing, make_attention
from ean_core.networks.stage import Stage
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.optional_packages import require

PREFIX = "timm:"

# Layers of a block's residual branch, in order.
_BASIC = ("conv1", "bn1", "drop_block", "act1", "aa", "conv2", "bn2", "se", "drop_path")
_BOTTLENECK = ("conv1", "bn1", "act1", "conv2", "bn2", "drop_block", "act2", "aa", "conv3", "bn3", "se", "drop_path")
_REGNET = ("conv1", "conv2", "se", "conv3", "drop_path")

_WHY_NOT = {
    "ResNetV2": "it normalizes before its convolutions and adds without an activation (pre-activation)",
    "NormFreeNet": "it has scaled sums of residuals in place of normalization",
    "ByobNet": "its blocks are built from a list of parts and end with other activations",
    "ConvNeXt": "it adds without an activation, and normalizes layers",
    "SENet": "it is timm's older copy of seresnet, which timm:seresnet50 and its like replace",
}


class TimmBlock(nn.Module):
    """A timm block that returns residual and shortcut separately and leaves the last activation to the stage.

    The layers keep their names, so that timm's weights fit.

    Args:
        block: timm's block, whose layers are reused.
        order: block class -> layers of the residual branch; layers that the block lacks are skipped.
    """

    def __init__(self, block: nn.Module, order: Mapping[type, tuple[str, ...]]) -> None:
        super().__init__()
        self.order = tuple(
            name for name in order[type(block)] if not isinstance(getattr(block, name, None), nn.Identity | None)
        )
        for name in self.order:
            self.add_module(name, getattr(block, name))
        shortcut = block.downsample
        self.downsample = None if isinstance(shortcut, nn.Identity) else shortcut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C_in, H, W) -> residual and shortcut, both (B, C_out, H / stride, W / stride)."""
        residual = x
        for name in self.order:
            residual = getattr(self, name)(residual)
        return residual, x if self.downsample is None else self.downsample(x)


class TimmNetwork(StagedNetwork):
    """A residual network of timm's with attention; see the module's docstring.

    Args:
        name: of timm's network, without prefix.
        attention: builds an attention module for a number of channels; None for the vanilla network.
        sharing: "stage" or "block".
        in_channels: of the images.
        num_classes: outputs of the head; None for a backbone without one.
        output_stride: pixels of the image per position of the last stage: 32, or 16 or 8 for segmentation, where the
            last stages are dilated instead of strided.

    Raises:
        EANError: if timm is not installed, has no such network, or it cannot be adapted.
    """

    def __init__(
        self,
        name: str,
        *,
        attention: Callable[[int], Attention] | None = None,
        sharing: str = "stage",
        in_channels: int = 3,
        num_classes: int | None = 1000,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        check_sharing(sharing)
        timm_blocks(name)  # refuses unsupported networks before a large one is built
        self.name, self.sharing, self.in_channels, self.stem_kind = name, sharing, in_channels, "imagenet"
        options = {} if output_stride == 32 else {"output_stride": output_stride}
        layout = take_apart(make_timm(name, num_classes=num_classes or 0, in_chans=in_channels, **options), name)
        self.stem_order = tuple(layout.stem)
        for layer, module in layout.stem.items():
            self.add_module(layer, module)
        for number, blocks in enumerate(layout.stages):
            stage_attention = make_attention(attention, layout.channels[number], len(blocks), sharing)
            stage = Stage([TimmBlock(block, layout.order) for block in blocks], stage_attention)
            self.add_module(f"layer{number + 1}", stage)
        self.stage_channels = layout.channels
        self.stages_blocks = tuple(len(blocks) for blocks in layout.stages)
        self.fc = layout.head if num_classes else None

    def forward_stem(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, C, H / 4, W / 4), or H / 2 and W / 2 for RegNet."""
        for name in self.stem_order:
            x = getattr(self, name)(x)
        return x

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """Names of convolutions followed by a batch norm; timm registers layers in the order in which they run."""
        leaves = [
            (name, module)
            for name, module in self.named_modules()
            if ".attention" not in name and isinstance(module, nn.Conv2d | nn.BatchNorm2d)
        ]
        for (conv, first), (norm, second) in pairwise(leaves):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                yield conv, norm

    def own_name(self, public_name: str) -> str:
        """Translate RegNet's s1.b1 to layer1.0 and head.fc to fc; other names are unchanged."""
        name = re.sub(r"^s(\d+)\.b(\d+)\.", lambda match: f"layer{match[1]}.{int(match[2]) - 1}.", public_name)
        return re.sub(r"^head\.fc\.", "fc.", name)


@dataclass(frozen=True)
class Layout:
    """The parts of a timm network.

    Attributes:
        stem: name -> layer, in the order in which they run.
        stages: the blocks of each stage.
        channels: output channels of each stage.
        order: block class -> names of the layers of its residual branch.
        head: the linear layer.
    """

    stem: dict[str, nn.Module]
    stages: tuple[tuple[nn.Module, ...], ...]
    channels: tuple[int, ...]
    order: Mapping[type, tuple[str, ...]]
    head: nn.Module


def output_stride_of(
    name: str,
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    contract_dilation: bool = True,
) -> int:
    """Translate strides and dilations to timm's output stride; timm always contracts dilations.

    The first stage's stride is fixed by the architecture.

    Raises:
        EANError: for a layout that timm does not support.
    """
    layouts = {(1, 1, 1, 1): (32, (2, 2, 2)), (1, 1, 1, 2): (16, (2, 2, 1)), (1, 1, 2, 4): (8, (2, 1, 1))}
    stride, later_strides = layouts.get(tuple(dilations or (1, 1, 1, 1)), (0, ()))
    fits = strides is None or tuple(strides)[1:] == later_strides
    if not (stride and fits and (contract_dilation or stride == 32)):
        raise EANError(
            f"architecture '{PREFIX}{name}' has no layout of strides {strides}, dilations {dilations} and "
            f"contract_dilation {contract_dilation}: give dilations (1, 1, 2, 4) with strides (1, 2, 1, 1), or "
            "(1, 1, 1, 2) with (1, 2, 2, 1), contract_dilation=True, or none of them"
        )
    return stride


def take_apart(network: nn.Module, name: str) -> Layout:
    """Take a timm network apart.

    Raises:
        EANError: if it is not supported, with the reason.
    """
    from timm.models import regnet, resnet

    kind = type(network)
    if kind is resnet.ResNet:
        stem = {layer: network.get_submodule(layer) for layer in ("conv1", "bn1", "act1", "maxpool")}
        stages = [network.layer1, network.layer2, network.layer3, network.layer4]
        order, pool, head = {resnet.BasicBlock: _BASIC, resnet.Bottleneck: _BOTTLENECK}, network.global_pool, network.fc
    elif kind is regnet.RegNet:
        stem, stages = {"stem": network.stem}, [network.s1, network.s2, network.s3, network.s4]
        order, pool, head = {regnet.Bottleneck: _REGNET}, network.head.global_pool, network.head.fc
    else:
        raise cannot(name, _WHY_NOT.get(kind.__name__, f"it is a {kind.__name__}, not a supported residual network"))
    blocks = tuple(tuple(stage.children()) for stage in stages)
    for block in (block for stage in blocks for block in stage):
        if type(block) not in order:
            raise cannot(name, f"its blocks are {type(block).__name__}, which mix or order their layers otherwise")
        last = block.act2 if type(block) is resnet.BasicBlock else block.act3
        if not isinstance(last, nn.ReLU):
            raise cannot(name, f"its blocks end with {type(last).__name__}")
        if kind is regnet.RegNet and block.downsample is None:
            raise cannot(name, "some of its blocks have no shortcut")
    if pool.pool_type != "avg" or not isinstance(getattr(network, "final_conv", None), nn.Identity | None):
        raise cannot(name, "its last features are not averaged and classified directly")
    channels = tuple(info["num_chs"] for info in network.feature_info[-len(blocks) :])
    return Layout(stem, blocks, channels, order, head)


def cannot(name: str, reason: str) -> EANError:
    """The error for an unsupported network."""
    return EANError(
        f"architecture '{PREFIX}{name}' cannot be adapted: {reason}, but attention needs blocks that end with "
        "ReLU(shortcut + residual); use one of timm's resnet, resnext, wide_resnet, seresnet, resnet..d, regnetx "
        "or regnety"
    )


def make_timm(name: str, **options: Any) -> nn.Module:
    """`timm.create_model` for a known name, with or without the tag of its weights (resnet50.a1_in1k).

    Raises:
        EANError: if timm is not installed, has no such network, or cannot build or download it.
    """
    require("timm", extra="zoo", what=f"architecture '{PREFIX}{name}'")
    import timm

    models = timm.list_models()
    if name.split(".")[0] not in models:  # checked here, since timm would look up a name with a colon on a hub
        near = ", ".join(repr(PREFIX + model) for model in get_close_matches(name, models, n=3)) or "timm:resnet50"
        raise EANError(f"unknown architecture '{PREFIX}{name}': did you mean {near}? timm.list_models() names all")
    try:
        return timm.create_model(name, **options)
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError) as error:
        raise EANError(f"timm cannot build {name!r} ({first_line(error)}): give another architecture") from None


@cache
def timm_blocks(name: str) -> tuple[int, ...]:
    """Blocks per stage of `timm:<name>`, without allocating it.

    Raises:
        EANError: as `TimmNetwork`.
    """
    with torch.device("meta"):
        return tuple(len(stage) for stage in take_apart(make_timm(name), name).stages)


def download(name: str) -> dict[str, Tensor]:
    """Download timm's public weights for a network.

    Raises:
        EANError: if there are none, or they cannot be downloaded.
    """
    tag = name if "." in name else f"{name} (timm's default weights)"
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # its line per retry would hide the error
    try:
        return make_timm(name, pretrained=True).state_dict()
    except Exception as error:  # errors of the hub's client, requests and httpx
        raise EANError(
            f"the weights of {tag} cannot be downloaded ({type(error).__name__}: {first_line(error)}): download "
            "model.safetensors from the model's page at https://huggingface.co/timm yourself, and give that file"
        ) from None
