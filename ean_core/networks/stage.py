"""Where attention meets blocks: the stage owns the attention and connects it to the blocks whose bit is set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ean_core.attention import Attention, State
from ean_core.deploy.fused_attention import Joined
from ean_core.deploy.interleaved_sge import side_by_side
from ean_core.networks.blocks import Bottleneck
from ean_core.utils.errors import EANError


class Stage(nn.Module):
    """Consecutive residual blocks of one width, and the attention they share.

    Args:
        blocks: modules that return (residual, shortcut), see `blocks.py`. They are registered as "0", "1", .. so
            that the names of the weights are torchvision's.
        attention: None; one module for all blocks ("stage" sharing: Share-full and EAN); or a `ModuleList` with one
            module, or None where there is no connection, per block ("block": Org-full).
    """

    def __init__(self, blocks: Sequence[nn.Module], attention: Attention | nn.ModuleList | None = None) -> None:
        super().__init__()
        self.depth = len(blocks)
        for index, block in enumerate(blocks):
            self.add_module(str(index), block)
        self.attention = attention
        self.bits: tuple[int, ...] = (0 if attention is None else 1,) * self.depth
        self.selects: Tensor | None = None  # bool (depth,) in place of the bits, see `selected`
        self.in_place = (
            False  # overwrite the blocks' residuals; `ean_core.deploy.fold` sets it, for networks done training
        )
        self.joined: nn.ModuleList | None = None  # per block, see `join`
        self.sums: nn.ModuleList | None = None  # per block, of `Joined` where there is a form for one without attention
        self.put_back = 0  # groups, where `networks.interleave` has changed the order of the channels inside

    @property
    def blocks(self) -> list[nn.Module]:
        """The residual blocks, in order."""
        return [self.get_submodule(str(index)) for index in range(self.depth)]

    def check_bits(self, bits: Sequence[int]) -> None:
        """Make sure that the blocks whose bit is 1 can be connected.

        Raises:
            EANError: if a block is to be connected to an attention that the network was built or pruned without.
        """
        if len(bits) != self.depth:
            raise EANError(f"the stage has {self.depth} blocks, got {len(bits)} bits")
        for index, bit in enumerate(bits):
            if bit and self.attention_of(index) is None:
                raise EANError(
                    f"block {index} of a stage is to be connected, but this network has no attention there: build it "
                    "with attention=..., or take the network from before prune()"
                )

    def attention_of(self, index: int) -> nn.Module | None:
        """The module that block `index` is or would be connected to."""
        if isinstance(self.attention, nn.ModuleList):
            module = self.attention[index]
            return None if isinstance(module, nn.Identity) else module
        return self.attention

    def prune(self) -> None:
        """Drop, in place, the attention that no set bit uses."""
        if isinstance(self.attention, nn.ModuleList):
            for index, bit in enumerate(self.bits):
                if not bit:
                    self.attention[index] = nn.Identity().train(self.training)  # fold looks at every mode
        if not any(self.bits):
            self.attention = None

    def join(self) -> None:
        """Join the attention, in place, to the last convolution of bottlenecks, where it has a form for that.

        For networks that are done training, with batch norm folded: what this makes is computed of the weights as they
        are now.
        """
        forms: list[nn.Module] = [nn.Identity() for _ in range(self.depth)]
        narrow = [index for index, block in enumerate(self.blocks) if type(block) is Bottleneck and block.folded]
        for indices in [[index] for index in narrow] if isinstance(self.attention, nn.ModuleList) else [narrow]:
            attention = self.attention_of(indices[0]) if indices else None
            made = attention.joined([self.blocks[index].conv3 for index in indices]) if attention is not None else None
            for index, form in zip(indices, made or (), strict=False):
                forms[index] = form
        self.joined = nn.ModuleList(forms)

    def connected(self, index: int) -> nn.Module | None:
        """What block `index` runs through if its bit is set: the attention, or its joined form."""
        form = form_of(self.joined, index)
        return self.attention_of(index) if form is None else form

    def alone(self, index: int) -> Joined | None:
        """What block `index` runs through if its bit is not set: None, or a form of its sum."""
        return form_of(self.sums, index)

    def forward(self, x: Tensor) -> Tensor:
        """x_{l+1} = ReLU(shortcut + (a_l M(f) + (1 - a_l)) * f) for every block (Eq. 4).

        (B, C_in, H, W) -> (B, C_out, H / stride, W / stride). The attention's state starts empty and moves only at
        connected blocks; with one module per block there is nothing for it to pass on, and each starts empty.
        """
        if self.selects is not None:
            return self.selected(x, self.selects)
        state: State = None
        shared = not isinstance(self.attention, nn.ModuleList)
        for index in range(self.depth):
            attention = self.connected(index) if self.bits[index] else self.alone(index)
            x, state = self.step(getattr(self, str(index)), attention, x, state if shared else None)
        return side_by_side(x, self.put_back) if self.put_back else x

    def selected(self, x: Tensor, bits: Tensor) -> Tensor:
        """As `forward`, for bits that are in a tensor: the same operations whatever they are, as a CUDA graph needs.

        Every block's attention runs, and its bit chooses whether that counts; a state that starts empty is zero.
        """
        state: State = None
        shared = not isinstance(self.attention, nn.ModuleList)
        for index in range(self.depth):
            residual, shortcut = getattr(self, str(index))(x)
            attention = self.attention_of(index)
            if attention is not None:
                residual, new = attention.switched(residual, bits[index], state if shared else None)
                if new is not None:
                    old = state or tuple(torch.zeros_like(one) for one in new)
                    state = tuple(torch.where(bits[index], *pair) for pair in zip(new, old, strict=True))
            x = (residual + shortcut).relu_()
        return x

    def step(self, block: nn.Module, attention: nn.Module | None, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One block, connected to an attention (or its joined form) or not: its output, and the state after it."""
        if isinstance(attention, Joined):
            narrow, shortcut = block.narrow(x)
            return attention(narrow, shortcut, state)
        residual, shortcut = block(x)
        if self.in_place and not residual.requires_grad:
            if attention is None:
                return self.add(residual, shortcut), state
            return attention.merge(residual, shortcut, state)
        if attention is not None:
            residual, state = attention(residual, state)
        return (residual + shortcut).relu_(), state

    @staticmethod
    def add(residual: Tensor, shortcut: Tensor) -> Tensor:
        """ReLU(residual + shortcut), which overwrites `residual`: for networks that are not trained."""
        return residual.add_(shortcut).relu_()


def form_of(forms: nn.ModuleList | None, index: int) -> Joined | None:
    """A block's, where it has one."""
    return forms[index] if forms is not None and isinstance(forms[index], Joined) else None
