"""A light decode head for mobile trunks: dilated convolutions and a gate on the last features, earlier ones added.

The gate is that of Lite R-ASPP (MobileNetV3, https://arxiv.org/abs/1905.02244), the sum with earlier features that of
FPN (https://arxiv.org/abs/1612.03144). A departure from both: dilated 3x3 convolutions widen the view of the last
features, and a depthwise separable convolution smooths every sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ean_core.attention.base import channel_means
from ean_core.utils.errors import EANError
from segmentation.third_party import BaseDecodeHead


@MODELS.register_module()
class GatedDilatedHead(BaseDecodeHead):
    """Maps features of several strides, the largest last, to logits of the first one's size.

    Args:
        in_channels: channels of the features that `in_index` selects, in the backbone's order.
        in_index: their indices.
        channels: of the sums and of the last convolution's input.
        context_channels: of the dilated convolutions.
        dilations: one residual 3x3 convolution for each.
        arguments: of mmsegmentation's heads: num_classes, norm_cfg, loss_decode, ..

    Raises:
        EANError: if fewer than two features are selected.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_index: Sequence[int],
        channels: int,
        *,
        context_channels: int = 128,
        dilations: Sequence[int] = (2, 4),
        **arguments: Any,
    ) -> None:
        if len(in_channels) < 2:
            raise EANError(f"GatedDilatedHead adds earlier features to the last ones, got in_channels={in_channels}")
        super().__init__(
            list(in_channels), channels, in_index=list(in_index), input_transform="multiple_select", **arguments
        )
        layer = {"conv_cfg": self.conv_cfg, "norm_cfg": self.norm_cfg, "act_cfg": self.act_cfg}
        self.reduce = ConvModule(in_channels[-1], context_channels, 1, **layer)
        self.dilated = nn.ModuleList(
            ConvModule(context_channels, context_channels, 3, padding=dilation, dilation=dilation, **layer)
            for dilation in dilations
        )
        self.gate = nn.Conv2d(context_channels, context_channels, 1)
        self.project = ConvModule(context_channels, channels, 1, **{**layer, "act_cfg": None})
        self.lateral = nn.ModuleList(
            ConvModule(count, channels, 1, **{**layer, "act_cfg": None}) for count in in_channels[:-1]
        )
        smooth = {name: value for name, value in layer.items() if name != "conv_cfg"}
        self.smooth = nn.ModuleList(
            DepthwiseSeparableConvModule(channels, channels, 3, padding=1, **smooth) for _ in in_channels[:-1]
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Map the backbone's features to logits (B, classes, H, W), of the size of the first selected features."""
        *earlier, last = self._transform_inputs(inputs)
        x = self.reduce(last)
        for convolution in self.dilated:
            x = x + convolution(x)
        x = self.project(x * self.gate(channel_means(x)[:, :, None, None]).sigmoid())
        for index in reversed(range(len(earlier))):
            x = F.interpolate(x, earlier[index].shape[-2:], mode="bilinear", align_corners=self.align_corners)
            x = self.smooth[index]((x + self.lateral[index](earlier[index])).relu())
        return self.cls_seg(x)
