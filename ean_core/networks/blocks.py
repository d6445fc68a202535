"""The two residual blocks of Deep Residual Learning (https://arxiv.org/abs/1512.03385).

A block returns residual and shortcut separately; the stage applies attention to the residual of connected blocks, adds
the two and activates (Eq. 4). The layers have torchvision's names, so that public weights fit.
"""

from __future__ import annotations

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions.

    Args:
        inputs: input channels.
        planes: width; there are `planes * expansion` output channels.
        stride: of the first convolution.
        dilation: of the first convolution (as in mmsegmentation; the second has none).
        bias: whether the convolutions have a bias (the paper's ImageNet networks do).
    """

    expansion = 1

    def __init__(
        self,
        inputs: int,
        planes: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=bias)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, planes * self.expansion, stride=stride, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, H, W) -> residual and shortcut, both (B, planes, H/stride, W/stride)."""
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return residual, shortcut

    def residual_end(self) -> tuple[nn.Module, tuple[nn.Module, ...]]:
        """The last norm of the residual branch, and the layers after it."""
        return self.bn2, ()


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, with the stride and the dilation on the 3x3 one. Arguments as for `BasicBlock`."""

    expansion = 4

    def __init__(
        self,
        inputs: int,
        planes: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=bias)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=bias)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = projection(inputs, outputs, stride=stride, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, H, W) -> residual and shortcut, both (B, 4 * planes, H/stride, W/stride)."""
        hidden, shortcut = self.forward_hidden(x)
        return self.bn3(self.conv3(hidden)), shortcut

    def residual_end(self) -> tuple[nn.Module, tuple[nn.Module, ...]]:
        """The last norm of the residual branch, and the layers after it."""
        return self.bn3, ()

    def forward_hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, inputs, H, W) -> the input of conv3, (B, planes, H/stride, W/stride), and the shortcut."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        return hidden, x if self.downsample is None else self.downsample(x)


def projection(inputs: int, outputs: int, *, stride: int, bias: bool) -> nn.Sequential | None:
    """1x1 convolution and batch norm where the shape changes; None where the identity fits."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=bias), nn.BatchNorm2d(outputs))
