"""TensorFlow's 'same' padding that can be exported for images of any size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SameConvolution(nn.Module):
    """timm's `Conv2dSame` in whole numbers, since torch.export cannot write its `math.ceil` to a file.

    Args:
        convolution: whose weights are used.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, ceil(H / stride), ceil(W / stride))."""
        layer = self.convolution
        sizes = zip(x.shape[-2:], layer.kernel_size, layer.stride, layer.dilation, strict=True)
        rows, columns = (same_padding(*values) for values in sizes)
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


def same_padding(length: int, kernel: int, stride: int, dilation: int) -> int:
    """Zeros to add along a side; of an odd number the larger half comes at the end.

    timm's maximum over rounded quotients, written with one remainder: the tracer nests these formulas layer by layer,
    and takes minutes over the former.
    """
    span = (kernel - 1) * dilation + 1
    if stride == 1:
        return span - 1
    lacking = -length % stride  # to whole strides
    return span - stride + lacking if span >= stride else max(span - stride + lacking, 0)


def make_padding_dynamic(network: nn.Module) -> nn.Module:
    """Replace a network's convolutions with 'same' padding by `SameConvolution`, in place."""
    from timm.layers import Conv2dSame  # timm takes a second to import

    for owner in list(network.modules()):
        for name, module in list(owner.named_children()):
            if isinstance(module, Conv2dSame):
                setattr(owner, name, SameConvolution(module).train(module.training))
    return network
