"""timm's residual networks as supernets: `timm:resnet50`, `timm:regnety_016`, `timm:tf_efficientnet_lite0` and others.

https://github.com/huggingface/pytorch-image-models. The adapter takes timm's network apart: its blocks return
residual and shortcut, and its stages become ours, which own the attention. So schemes, search, pruning, folding,
network files and timing work as for our own networks, and without connections the output equals timm's.

Supported are the networks of timm's `ResNet` class with its usual blocks (resnet, resnext, wide_resnet, seresnet,
ecaresnet, resnetrs, senet154, the -c, -d, -s, -t, aa and blur variants), of its `RegNet` class with post-activation
(regnetx, regnety, regnetz), and of its `EfficientNet` class (efficientnet, tf_efficientnet_lite, mobilenetv2, mnasnet,
fbnetc, tinynet ..). What their blocks end with, ReLU in a ResNet and nothing in a MobileNet, is the stage's activation.
Where the shape changes, a MobileNet's block has no shortcut, and attention recalibrates all that it outputs.

A network's own attention (seresnet, ecaresnet, regnety, efficientnet) stays part of its blocks; ours follows it. To
search where SE pays off, use the network without it, such as `timm:resnet50` with `attention="timm:se"`.

The initial weights are timm's; they start the last batch norm of a ResNet's blocks at zero, so that a fresh network's
blocks are the identity, with or without attention.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ean_core.attention import Attention
from ean_core.networks.base import StagedNetwork
from ean_core.networks.resnet import check_sharing, make_attention
from ean_core.networks.stage import Stage
from ean_core.networks.timm_families import PREFIX, Layout, make_timm, take_apart
from ean_core.networks.timm_weights import timms_name
from ean_core.utils.errors import EANError


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
        self.has_shortcut = has_shortcut(block)
        shortcut = getattr(block, "downsample", None)
        self.downsample = None if isinstance(shortcut, nn.Identity) else shortcut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, C_in, H, W) -> residual and shortcut, both (B, C_out, H / stride, W / stride); the latter may be None."""
        residual = x
        for name in self.order:
            residual = getattr(self, name)(residual)
        if not self.has_shortcut:
            return residual, None
        return residual, x if self.downsample is None else self.downsample(x)

    def residual_end(self) -> tuple[nn.Module, tuple[nn.Module, ...]]:
        """The last norm of the residual branch, and the layers after it, such as an attention of the network's own."""
        layers = [getattr(self, name) for name in self.order]
        norms = [getattr(layer, "bn", layer) for layer in layers]  # RegNet's layers are convolution and norm in one
        last = max(index for index, norm in enumerate(norms) if isinstance(norm, _BatchNorm | nn.GroupNorm))
        return norms[last], tuple(layers[last + 1 :])


def has_shortcut(block: nn.Module) -> bool:
    """Whether a timm block adds anything to its residual; MobileNets' say so, and RegNets' have no downsample then."""
    from timm.models.regnet import Bottleneck

    return block.downsample is not None if type(block) is Bottleneck else getattr(block, "has_skip", True)


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
        EANError: if timm has no such network, or it cannot be adapted.
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
        timm_layout(name)  # refuses unsupported networks before a large one is built
        self.name, self.sharing, self.in_channels, self.stem_kind = name, sharing, in_channels, "imagenet"
        options = {} if output_stride == 32 else {"output_stride": output_stride}
        layout = take_apart(make_timm(name, num_classes=num_classes or 0, in_chans=in_channels, **options), name)
        self.stem_order = tuple(layout.stem)
        for layer, module in layout.stem.items():
            self.add_module(layer, module)
        for number, blocks in enumerate(layout.stages):
            stage_attention = make_attention(attention, layout.channels[number], len(blocks), sharing)
            ours = [TimmBlock(block, layout.order) for block in blocks]
            self.add_module(f"layer{number + 1}", Stage(ours, stage_attention, activation=layout.activation))
        self.stage_channels = layout.channels
        self.stages_blocks = tuple(len(blocks) for blocks in layout.stages)
        self.head_order = tuple(layout.head) if num_classes else ()
        for layer in self.head_order:
            self.add_module(layer, layout.head[layer])
        self.fc = layout.fc if num_classes else None

    def forward_stem(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, C, H / 4, W / 4) for ResNets, (B, C, H / 2, W / 2) for others."""
        for name in self.stem_order:
            x = getattr(self, name)(x)
        return x

    def forward_head(self, features: Tensor) -> Tensor:
        """The last stage's features (B, C, H, W) -> logits (B, num_classes), or (B, C) without a head.

        Some networks have a convolution before the pooling, which is part of their head.
        """
        for name in self.head_order:
            features = getattr(self, name)(features)
        return super().forward_head(features)

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """Names of convolutions followed by a batch norm; timm registers layers in the order in which they run."""
        leaves = [
            (name, module)
            for name, module in self.named_modules()
            if ".attention" not in name and isinstance(module, nn.Conv2d | _BatchNorm)
        ]
        for (conv, first), (norm, second) in pairwise(leaves):
            # mixnet joins the outputs of several convolutions before a batch norm: the last alone has too few channels.
            if isinstance(first, nn.Conv2d) and getattr(second, "num_features", None) == first.out_channels:
                yield conv, norm

    def own_name(self, public_name: str) -> str:
        """Translate RegNet's s1.b1 and a MobileNet's blocks.0.0 to layer1.0, and the last layer to fc.

        The names of efficientnet_pytorch, under which Google's weights are published, become timm's first.
        """
        name = timms_name(public_name, timm_layout(self.name).stages)
        name = re.sub(r"^s(\d+)\.b(\d+)\.", lambda match: f"layer{match[1]}.{int(match[2]) - 1}.", name)
        name = re.sub(r"^blocks\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", name)
        return re.sub(r"^(head\.fc|classifier)\.", "fc.", name)


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
    if not dilations and strides is None:
        return 32
    layouts = {stride: dilated_layout(timm_strides(name), stride) for stride in (32, 16, 8)}
    for output_stride, (supported_strides, supported_dilations) in layouts.items():
        fits = strides is None or tuple(strides)[1:] == supported_strides[1:]
        dilated = tuple(dilations or layouts[32][1]) == supported_dilations
        if fits and dilated and (contract_dilation or output_stride == 32):
            return output_stride
    (strides_8, dilations_8), (strides_16, dilations_16) = layouts[8], layouts[16]
    raise EANError(
        f"architecture '{PREFIX}{name}' has no layout of strides {strides}, dilations {dilations} and "
        f"contract_dilation {contract_dilation}: give dilations {dilations_8} with strides {strides_8}, or "
        f"{dilations_16} with {strides_16}, contract_dilation=True, or none of them"
    )


def dilated_layout(total_strides: Sequence[int], output_stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and dilations of the stages of a network that is dilated from `output_stride` on.

    Args:
        total_strides: pixels of the image per position of each stage's output, without dilation.
        output_stride: the largest one allowed.
    """
    strides, dilations = [1], [1]
    for before, after in pairwise(total_strides):
        strides.append(after // before if after <= output_stride else 1)
        dilations.append(max(1, after // output_stride))
    return tuple(strides), tuple(dilations)


@cache
def timm_layout(name: str) -> Layout:
    """The parts of `timm:<name>`, on the meta device: nothing is allocated.

    Raises:
        EANError: as `TimmNetwork`.
    """
    with torch.device("meta"):
        return take_apart(make_timm(name), name)


@cache
def timm_strides(name: str) -> tuple[int, ...]:
    """Pixels of the image per position of each stage's output of `timm:<name>`, without allocating it.

    Raises:
        EANError: as `TimmNetwork`.
    """
    with torch.device("meta"):
        network, images = TimmNetwork(name, num_classes=None).eval(), torch.empty(1, 3, 64, 64)
    return tuple(64 // features.shape[-1] for features in network.forward_features(images))
