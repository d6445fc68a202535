"""The counter: the shared residual network, a head of two 1x1 convolutions, and softplus.

The head is that of C^3 Framework's ResNet-50 counter (https://arxiv.org/abs/1907.02724); the paper of this project
(https://arxiv.org/abs/2011.14058) publishes none. A departure: softplus instead of that counter's final ReLU, whose
gradient vanishes when all its inputs are negative, which stops training; softplus always has a gradient.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from crowd_counting.model.zero_inflated import ZeroInflated
from ean_core.networks import ARCHITECTURES, StagedNetwork, create_model, is_timm, stage_strides, stages_blocks
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.scheme import SchemeLike, as_scheme
from ean_core.utils.errors import EANError

FEATURES = ("stage3", "all", "stride16")
STRIDES = (4, 8, 16)
HEAD_NORMS = ("none", "group")
GROUPS = 8
SEARCHED = "se"
"""The attention that is searched where a recipe names none."""


@dataclass(frozen=True)
class CounterSpec(TrunkSpec):
    """A counter.

    Attributes:
        features: stages that the head sees: "stage3", the last one of stride 16 (a ResNet's third); "all"; or
            "stride16", those up to stride 16, with dilated convolutions on the last one.
        stride: pixels per cell of the density map, one of 4, 8, 16.
        head_channels: channels between the head's two convolutions, and of the decoder.
        head_norm: normalization in the head: "none" or "group".
        output_scale: factor between the network's raw output and the density.
        zero_inflated: whether the head also gives the probability that nobody can be in a cell, see `ZeroInflated`.
    """

    features: str = "stage3"
    stride: int = 8
    head_channels: int = 64
    head_norm: str = "none"
    output_scale: float = 100.0
    zero_inflated: bool = False

    def share_full(self) -> CounterSpec:
        """With attention at every block, one module per stage: the network that schemes are searched in."""
        return dataclasses.replace(self, attention=self.attention or SEARCHED, sharing="stage", scheme=None)

    def build(self) -> Counter:
        """Build the counter with random weights, without attention modules that the scheme does not connect."""
        stages_blocks(self.arch)  # refuses an unknown name
        for name, value, choices in (
            ("features", self.features, FEATURES),
            ("stride", self.stride, STRIDES),
            ("head_norm", self.head_norm, HEAD_NORMS),
        ):
            check_choice(name, value, choices)
        if self.head_channels < GROUPS or self.head_channels % GROUPS:
            raise EANError(f"head_channels must be a multiple of {GROUPS}, got {self.head_channels}")
        pool, strides = layout(self.arch, features=self.features, stride=self.stride)
        changed_layout = {} if strides is None else {"strides": strides}
        trunk = create_model(**self.trunk_arguments(), num_classes=0, **changed_layout)
        if self.features == "stage3":
            trunk.keep_stages(stages_to_stride_16(self.arch))
        if self.attention is not None and self.unconnected == "identity":
            trunk = trunk.prune()
        fusion: nn.Module = LastStage()
        if self.features == "all":
            fusion = FuseStages(trunk.stage_channels, self.head_channels)
        elif self.features == "stride16":
            fusion = dilated_fusion(trunk, self.head_channels, arch=self.arch, stride=self.stride)
        inputs = trunk.stage_channels[-1] if self.features == "stage3" else self.head_channels
        head = make_head(inputs, self.head_channels, norm=self.head_norm, outputs=1 + self.zero_inflated)
        deepest = max(stage_strides(self.arch)[: len(trunk.stages)]) if is_timm(self.arch) else self.stride
        return Counter(
            trunk, fusion, head, pool=pool, stride=self.stride, pad_to=deepest, output_scale=self.output_scale
        )


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise an `EANError` that lists the choices if the value is not among them."""
    if value not in choices:
        raise EANError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")


def build_counter(
    arch: str = "resnet50", *, attention: str | None = None, scheme: SchemeLike = None, **options: Any
) -> Counter:
    """Build a counter for an attention and a scheme, in eval mode, for timing or embedding in other code.

    Args:
        arch: a name of `ARCHITECTURES`.
        attention: None, "se", "sge", "dia", ..
        scheme: None (all ones), "org", a `Scheme`, bits, or a path to a scheme.json, over all stages.
        options: other fields of `CounterSpec`.

    Returns:
        a network that maps normalized images (B, 3, H, W) to densities (B, 1, ceil(H / stride), ceil(W / stride)).

    Raises:
        EANError: for an unknown name or a scheme of the wrong length.
    """
    text = None if scheme is None else as_scheme(scheme, stages_blocks(arch)).text
    return CounterSpec(arch=arch, attention=attention, scheme=text, **options).build().eval()


def stages_to_stride_16(arch: str) -> int:
    """How many stages there are up to the last one with 16 pixels per position: 3 in ResNets, 5 in MobileNets."""
    return sum(stride <= 16 for stride in stage_strides(arch))


def layout(arch: str, *, features: str, stride: int) -> tuple[int, tuple[int, ...] | None]:
    """How an architecture reaches a stride: pooling before its stem, and the strides of its stages.

    An ImageNet stem has stride 4, and stages 2 and 3 provide the rest; with features "all" every stage keeps its
    stride, since the decoder merges them. A CIFAR stem has stride 1 and its stages end at stride 4, so the image is
    first average-pooled by stride / 4: at full resolution these networks would be far too slow. timm's networks keep
    their strides.

    Returns:
        (pool, strides), with strides None for the architecture's own.

    Raises:
        EANError: for a stride that a timm network's stages do not provide.
    """
    if features == "stride16":
        if not is_timm(arch) and ARCHITECTURES[arch]["stem"] == "cifar":
            raise EANError(f"{arch} is for small images and has no stage of stride 16: give model.features=all")
        return 1, None if is_timm(arch) else (1, 2, 2, 2)
    if is_timm(arch):
        if features != "all" and stride != 16:
            raise EANError(
                f"stage {stages_to_stride_16(arch)} of {arch} has stride 16, but stride {stride} was requested: give "
                "--cfg-options model.stride=16 or model.features=all"
            )
        return 1, None
    if ARCHITECTURES[arch]["stem"] == "cifar":
        return stride // 4, (1, 2, 2)
    if features == "all":
        return 1, (1, 2, 2, 2)
    return 1, {4: (1, 1, 1, 1), 8: (1, 2, 1, 1), 16: (1, 2, 2, 1)}[stride]


def make_head(inputs: int, channels: int, *, norm: str, outputs: int = 1) -> nn.Sequential:
    """Build the head: 1x1 convolution, optional group norm, ReLU, 1x1 convolution."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, channels, 1)]
    if norm == "group":
        layers.append(nn.GroupNorm(GROUPS, channels))
    layers += [nn.ReLU(inplace=True), nn.Conv2d(channels, outputs, 1)]
    nn.init.normal_(layers[-1].weight, std=0.01)
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)


class LastStage(nn.Module):
    """Selects the last stage's features, which are already at the output stride."""

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Map the features of all stages to (B, C, *size)."""
        return features[-1]


class FuseStages(nn.Module):
    """A light decoder: a 1x1 convolution per stage, resized to one size and summed.

    Args:
        inputs: channels of each stage.
        channels: channels of the sum.
    """

    def __init__(self, inputs: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in inputs)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Map the features of all stages to (B, channels, *size)."""
        total: Tensor | None = None
        for lateral, feature in zip(self.lateral, features, strict=True):
            feature = lateral(feature)
            if feature.shape[-1] > size[1]:
                feature = F.adaptive_avg_pool2d(feature, size)
            elif feature.shape[-1] < size[1]:
                feature = F.interpolate(feature, size, mode="bilinear", align_corners=False)
            total = feature if total is None else total + feature
        assert total is not None
        return total.relu()


class DilatedFusion(nn.Module):
    """Two dilated 3x3 convolutions on the last stage, resized to the output, plus a 1x1 convolution of an earlier one.

    CSRNet (https://arxiv.org/abs/1802.10062) introduced dilated convolutions to counting; FPN
    (https://arxiv.org/abs/1612.03144) the sum with an earlier stage.

    Args:
        last: channels of the last stage.
        channels: of the output.
        earlier: index and channels of the stage at the output's size; None where that is the last stage's.
    """

    def __init__(self, last: int, channels: int, *, earlier: tuple[int, int] | None) -> None:
        super().__init__()
        self.dilated = nn.Sequential(
            nn.Conv2d(last, channels, 3, padding=2, dilation=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=2, dilation=2),
        )
        self.index = None if earlier is None else earlier[0]
        self.lateral = None if earlier is None else nn.Conv2d(earlier[1], channels, 1)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Map the features of all stages to (B, channels, *size)."""
        fused = self.dilated(features[-1])
        if self.lateral is None:
            return fused.relu()
        fused = F.interpolate(fused, size, mode="bilinear", align_corners=False)
        return (fused + self.lateral(features[self.index])).relu()


def dilated_fusion(trunk: StagedNetwork, channels: int, *, arch: str, stride: int) -> DilatedFusion:
    """Cut a trunk, in place, after its last stage of stride 16, and build the fusion for an output stride.

    Raises:
        EANError: if the architecture has no stage of that stride.
    """
    strides = stage_strides(arch)[: stages_to_stride_16(arch)]
    if stride not in strides:
        raise EANError(
            f"the stages of {arch} have strides {', '.join(map(str, strides))} and more: give one of them as "
            f"model.stride, not {stride}"
        )
    trunk.keep_stages(len(strides))
    index = max(number for number, value in enumerate(strides) if value == stride)
    earlier = None if stride == 16 else (index, trunk.stage_channels[index])
    return DilatedFusion(trunk.stage_channels[-1], channels, earlier=earlier)


class Counter(BackboneWrapper):
    """The counting network: normalized images to density maps.

    Args:
        trunk: the residual network.
        join: merges the features of the trunk's stages.
        head: maps the merged features to one channel, or two for `ZeroInflated`.
        pool: window of the average pooling before the trunk; 1 for none.
        stride: pixels per cell of the density map.
        pad_to: images are padded to multiples of so many pixels. timm's mobile networks pad like TensorFlow, which
            shifts the features of an image whose sides are not multiples of the deepest stage's stride.
        output_scale: the head's softplus is divided by this to get the density.
    """

    def __init__(
        self,
        trunk: StagedNetwork,
        join: nn.Module,
        head: nn.Sequential,
        *,
        pool: int,
        stride: int,
        pad_to: int,
        output_scale: float,
    ) -> None:
        super().__init__()
        self.trunk, self.join, self.head = trunk, join, head
        self.pool, self.stride, self.pad_to, self.output_scale = pool, stride, pad_to, output_scale
        self.zero_inflated = head[-1].out_channels == 2
        self.batch_norm_frozen = False
        self.frozen_stages = 0

    def forward(self, images: Tensor) -> Tensor:
        """Map normalized images (B, 3, H, W) to heads per cell, float32 (B, 1, ceil(H / stride), ceil(W / stride)).

        Images are padded with zeros, their mean, at the right and bottom; see `pad_to`.
        """
        return self.forward_head(self.trunk.forward_features(self.pooled(images)), images.shape[-2:])

    def distribution(self, images: Tensor) -> ZeroInflated:
        """Map normalized images to distributions, of which `forward` gives the expectation; for zero-inflated heads."""
        return self.distribution_of(self.raw_maps(self.trunk.forward_features(self.pooled(images)), images.shape[-2:]))

    def distribution_of(self, raw: Tensor) -> ZeroInflated:
        """The distributions that a head's two outputs (B, 2, h, w) mean."""
        return ZeroInflated(F.softplus(raw[:, :1]) / self.output_scale, raw[:, 1:])

    def pooled(self, images: Tensor) -> Tensor:
        """Pad images (B, 3, H, W), see `pad_to`, and average them for a trunk without a stem's stride."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.pad_to, 0, -height % self.pad_to))
        return F.avg_pool2d(images, self.pool) if self.pool > 1 else images

    def forward_stem(self, images: Tensor) -> Tensor:
        """Map normalized images (B, 3, H, W) to the input of the trunk's first stage."""
        return self.trunk.forward_stem(self.pooled(images))

    def forward_head(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Map the outputs of the trunk's stages for images of `size` (H, W) to heads per cell; see `forward`."""
        raw = self.raw_maps(features, size)
        return self.distribution_of(raw).expected() if self.zero_inflated else F.softplus(raw) / self.output_scale

    def raw_maps(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """The head's output for images of `size` (H, W), float32 (B, 1 or 2, h, w)."""
        # Rounded up without negative numbers, since ONNX divides them toward zero.
        height, width = ((length + self.stride - 1) // self.stride for length in size)
        rows, columns = ((length + self.pad_to - 1) // self.pad_to * (self.pad_to // self.stride) for length in size)
        return self.head(self.join(features, (rows, columns))).float()[..., :height, :width]

    def set_initial_density(self, density: float) -> None:
        """Set the head's last bias so that an untrained counter predicts about this many heads per cell."""
        rate = density * (2 if self.zero_inflated else 1)  # pi is 1/2 at first
        scaled = max(rate * self.output_scale, 1e-4)
        # The inverse of softplus: log(e^y - 1), which for large y is y.
        nn.init.constant_(self.head[-1].bias[:1], scaled + math.log(-math.expm1(-scaled)))

    def freeze_batch_norm(self) -> None:
        """Use the running statistics of batch norm in training too; its weights are still trained."""
        self.batch_norm_frozen = True
        self.train(self.training)

    def freeze_stages(self, count: int) -> None:
        """Do not train the trunk's stem and the blocks of its first `count` stages; their attention is trained."""
        if count >= len(self.trunk.stages):
            raise EANError(
                f"model.frozen_stages must be fewer than the trunk's {len(self.trunk.stages)} stages, got {count}"
            )
        self.frozen_stages = count
        trained = {id(parameter) for stage in self.trunk.stages[count:] for parameter in stage.parameters()}
        for name, parameter in self.trunk.named_parameters() if count else ():
            parameter.requires_grad_(".attention" in name or id(parameter) in trained)

    def train(self, mode: bool = True) -> Counter:
        """Set the mode; frozen batch norms stay in eval mode."""
        super().train(mode)
        if self.batch_norm_frozen:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self
