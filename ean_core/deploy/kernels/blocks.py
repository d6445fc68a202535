"""Blocks whose biases, sums and activations are in the kernels, in place of passes of their own.

A GPU's convolutions leave their bias to another kernel, which reads and writes all features once more. Here it is added
where they are read anyway: with the ReLU after the first convolutions of a block, and in the sum after the last. The
attention of bottlenecks takes its means of what the last convolution takes (`ean_core.deploy.fused_attention`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from ean_core.attention.base import State
from ean_core.attention.dia import JoinedRecurrent, started
from ean_core.attention.se import JoinedSqueeze
from ean_core.attention.sge import JoinedGroups
from ean_core.deploy.fused_attention import Joined
from ean_core.deploy.kernels import triton_kernels
from ean_core.networks.blocks import Bottleneck


class BiasReLU(nn.Module):
    """In the place of a batch norm that was folded: the convolution's bias, and the activation after it."""

    def __init__(self, bias: nn.Parameter) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """ReLU(x + bias) for x (B, C, H, W), which is overwritten."""
        return triton_kernels.bias_relu(x, self.bias)


def move_biases(owner: nn.Module, count: int) -> None:
    """Let bn1 .. of a folded block or stem add the biases of conv1 .. and activate, `count` of them, in place.

    Nothing is done where the activation is used otherwise, or something else follows a convolution.
    """
    pairs = [(getattr(owner, f"conv{n}"), getattr(owner, f"bn{n}")) for n in range(1, count + 1)]
    if type(owner.relu) is not nn.ReLU or not all(c.bias is not None and type(b) is nn.Identity for c, b in pairs):
        return
    for number, (convolution, _) in enumerate(pairs, start=1):
        setattr(owner, f"bn{number}", BiasReLU(convolution.bias))
        convolution.bias = None
    owner.relu = nn.Identity()


class KernelJoined(Joined):
    """A joined form whose product, sum and activation are one kernel."""

    def forward(self, narrow: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """As the base."""
        mask, state = self.mask(narrow, state)
        residual, bias = without_bias(self.convolution, narrow)
        return triton_kernels.scale_add_relu(residual, mask, shortcut, bias), state


class KernelMask(KernelJoined):
    """Of any joined form that makes a mask."""

    def __init__(self, joined: Joined) -> None:
        super().__init__(joined.convolution)
        self.joined = joined

    def mask(self, narrow: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C), as the joined form has it."""
        return self.joined.mask(narrow, state)


class KernelSqueeze(KernelJoined):
    """Of SE: the means are a kernel, and both layers another where they are small enough."""

    def __init__(self, joined: JoinedSqueeze) -> None:
        super().__init__(joined.convolution)
        self.joined = joined

    def mask(self, narrow: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C), no state."""
        means, squeeze, excite = triton_kernels.channel_means(narrow), self.joined.squeeze, self.joined.excite
        if not triton_kernels.excites(squeeze.weight, excite.weight):
            return self.joined.mask_of(means.to(narrow.dtype)), state
        return triton_kernels.excite(means, squeeze.weight, squeeze.bias, excite.weight, excite.bias), state


class KernelRecurrent(KernelJoined):
    """Of DIA: the means, and the gates' arithmetic, are a kernel each."""

    def __init__(self, joined: JoinedRecurrent) -> None:
        super().__init__(joined.convolution)
        self.joined = joined

    def mask(self, narrow: Tensor, state: State) -> tuple[Tensor, State]:
        """(B, C), which is also the hidden vector."""
        means = triton_kernels.channel_means(narrow).to(narrow.dtype)
        hidden, cell = started(state, means, self.convolution.out_channels)
        hidden, cell = triton_kernels.cell(self.joined.gates_of(means, hidden), cell)
        return hidden, (hidden, cell)


class KernelGroups(Joined):
    """Of SGE: one kernel after the convolution."""

    def __init__(self, joined: JoinedGroups) -> None:
        super().__init__(joined.convolution)
        self.attention = joined.attention

    def forward(self, narrow: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """As the base, group by group."""
        attention, (residual, bias) = self.attention, without_bias(self.convolution, narrow)
        merged = triton_kernels.group_enhance(residual, shortcut, attention.weight, attention.bias, attention.eps, bias)
        return merged, state


class KernelSum(Joined):
    """Of a block without attention: ReLU(shortcut + convolution(narrow))."""

    def forward(self, narrow: Tensor, shortcut: Tensor, state: State = None) -> tuple[Tensor, State]:
        """As said; the state goes on as it is."""
        residual, bias = without_bias(self.convolution, narrow)
        return triton_kernels.add_relu(residual, shortcut, bias), state


def without_bias(convolution: nn.Conv2d, narrow: Tensor) -> tuple[Tensor, Tensor | None]:
    """What a 1x1 convolution gives but for its bias, and the bias."""
    return F.conv2d(narrow, convolution.weight), convolution.bias


FORMS: Mapping[type[Joined], type[Joined]] = {
    JoinedSqueeze: KernelSqueeze,
    JoinedRecurrent: KernelRecurrent,
    JoinedGroups: KernelGroups,
}


def with_kernels(form: nn.Module) -> nn.Module:
    """The form of a block's joined attention that runs through the kernels; what is not joined stays."""
    if not isinstance(form, Joined):
        return form
    made = FORMS.get(type(form), KernelMask if type(form).forward is Joined.forward else None)
    return form if made is None else made(form)


def sums(blocks: list[nn.Module]) -> nn.ModuleList:
    """A form for each block, for when it is not connected: bottlenecks have one."""
    return nn.ModuleList(
        KernelSum(block.conv3) if type(block) is Bottleneck and block.folded else nn.Identity() for block in blocks
    )
