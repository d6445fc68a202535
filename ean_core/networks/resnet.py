"""The one residual network of the project: classification, counting and segmentation all use this class.

Deep Residual Learning (https://arxiv.org/abs/1512.03385), with the attention of Efficient Attention Network
(https://arxiv.org/abs/2011.14058, Fig. 2) at the end of the residual branches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from ean_core.attention import Attention
from ean_core.networks.base import StagedNetwork
from ean_core.networks.blocks import BasicBlock, Bottleneck
from ean_core.networks.stage import Stage
from ean_core.utils.checked_dataclasses import check_arguments
from ean_core.utils.errors import EANError

SHARING = ("stage", "block")
STEMS = ("cifar", "imagenet")


class ResNet(StagedNetwork):
    """Stem, stages, and a linear head.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks of each stage.
        widths: planes of each stage; the stage's channels are planes * block.expansion.
        stem: "cifar" (3x3, stride 1) or "imagenet" (7x7, stride 2, then 3x3 max pooling with stride 2).
        strides: stride of each stage's first block.
        dilations: dilation of each stage.
        contract_dilation: halve the dilation of a dilated stage's first block (as mmsegmentation's option does).
        conv_bias: whether the convolutions have a bias.
        attention: builds an attention module for a number of channels; None for the vanilla network.
        sharing: "stage", one module per stage (Share-full, EAN); "block", one per block (Org-full).
        in_channels: of the images.
        num_classes: outputs of the head; None for a backbone without one.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        *,
        widths: Sequence[int] = (64, 128, 256, 512),
        stem: str = "imagenet",
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        contract_dilation: bool = False,
        conv_bias: bool = False,
        attention: Callable[[int], Attention] | None = None,
        sharing: str = "stage",
        in_channels: int = 3,
        num_classes: int | None = 1000,
    ) -> None:
        super().__init__()
        check_sharing(sharing)
        if stem not in STEMS:
            raise EANError(f"stem must be one of {', '.join(STEMS)}, got {stem!r}")
        self.sharing = sharing
        self.stem_kind = stem
        self.in_channels = in_channels
        self.conv1, self.maxpool = make_stem(stem, in_channels, widths[0], bias=conv_bias)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        channels = widths[0]
        self.stage_channels = ()
        for number, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            blocks: list[nn.Module] = []
            halve = contract_dilation and dilations[number] > 1
            first_dilation = dilations[number] // 2 if halve else dilations[number]
            for index in range(depth):
                dilation, stride = (dilations[number], 1) if index else (first_dilation, strides[number])
                blocks.append(block(channels, width, stride=stride, dilation=dilation, bias=conv_bias))
                channels = width * block.expansion
            self.add_module(f"layer{number + 1}", Stage(blocks, make_attention(attention, channels, depth, sharing)))
            self.stage_channels += (channels,)
        self.stages_blocks = tuple(depths)
        self.fc = None if num_classes is None else nn.Linear(channels, num_classes)
        initialize(self)

    def forward_stem(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, widths[0], H', W'): a quarter of the side with an "imagenet" stem."""
        x = self.relu(self.bn1(self.conv1(x)))
        return x if self.maxpool is None else self.maxpool(x)

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """Names of every convolution and the batch norm that directly follows it."""
        owners = [
            f"layer{number + 1}.{index}." for number, count in enumerate(self.stages_blocks) for index in range(count)
        ]
        for owner in ("", *owners):
            block = self.get_submodule(owner.rstrip("."))
            yield from ((f"{owner}conv{i}", f"{owner}bn{i}") for i in (1, 2, 3) if hasattr(block, f"conv{i}"))
            if getattr(block, "downsample", None) is not None:
                yield f"{owner}downsample.0", f"{owner}downsample.1"


def check_sharing(sharing: str) -> None:
    """Raise `EANError` unless sharing is "stage" or "block"."""
    if sharing not in SHARING:
        raise EANError(f"sharing must be one of {', '.join(SHARING)}, got {sharing!r}")


def make_stem(kind: str, inputs: int, outputs: int, *, bias: bool) -> tuple[nn.Conv2d, nn.MaxPool2d | None]:
    """The first convolution, and the pooling after it if there is one."""
    if kind == "cifar":
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), None
    return nn.Conv2d(inputs, outputs, 7, stride=2, padding=3, bias=bias), nn.MaxPool2d(3, stride=2, padding=1)


def make_attention(
    build: Callable[[int], Attention] | None, channels: int, depth: int, sharing: str
) -> Attention | nn.ModuleList | None:
    """One module for the stage, one per block, or none."""
    if build is None:
        return None
    if sharing == "stage":
        return build(channels)
    return nn.ModuleList(build(channels) for _ in range(depth))


def initialize(network: nn.Module) -> None:
    """Convolutions N(0, sqrt(2 / (k*k*out))) with zero bias, batch norm weight 1 and bias 0.

    Linear layers and attention keep the initialization of their constructors.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and ".attention" not in name:
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and ".attention" not in name:
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def count_parameters(network: nn.Module) -> int:
    """Number of parameters, as in Table 1."""
    check_arguments("count_parameters", network=(network, nn.Module))
    return sum(parameter.numel() for parameter in network.parameters())


def input_shape(network: StagedNetwork, *, size: int | None = None) -> tuple[int, int, int]:
    """(C, H, W) of a network's usual input: 32 pixels for a CIFAR stem, 224 for an ImageNet stem."""
    side = size or (32 if network.stem_kind == "cifar" else 224)
    return network.in_channels, side, side


__all__ = ["ResNet", "count_parameters", "initialize", "input_shape"]
