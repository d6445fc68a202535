"""A stage owns its attention and applies it to the blocks whose bit is set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ean_core.attention import Attention, State
from ean_core.attention.masks import only_multiplies
from ean_core.networks.mean_masks import MeanMasks
from ean_core.networks.scale_layers import scale_output
from ean_core.utils.errors import EANError

Activation = Callable[[Tensor], Tensor]


class Stage(nn.Module):
    """Consecutive residual blocks of one width, and the attention they share.

    Args:
        blocks: modules that return (residual, shortcut), see `blocks.py`; the shortcut may be None. They are registered
            as "0", "1", ... so that the weights have torchvision's names.
        attention: None; one module for all blocks ("stage" sharing: Share-full and EAN); or a `ModuleList` with one
            module per block ("block" sharing: Org-full), an `nn.Identity` where it was pruned.
        activation: applied after the addition, possibly in place; `nn.Identity()` for none.

    Attributes:
        mean_masks: what multiplies the residuals of blocks that are not connected; None for nothing, as in the paper.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        attention: Attention | nn.ModuleList | None = None,
        *,
        activation: Activation = torch.relu_,
    ) -> None:
        super().__init__()
        self.depth = len(blocks)
        for index, block in enumerate(blocks):
            self.add_module(str(index), block)
        self.attention = attention
        self.activation = activation
        self.mean_masks: MeanMasks | None = None
        self.bits: tuple[int, ...] = (0 if attention is None else 1,) * self.depth

    def forward(self, x: Tensor) -> Tensor:
        """x_{l+1} = ReLU(shortcut + (a_l M(f) + (1 - a_l)) * f) for every block l and its residual f (Eq. 4).

        (B, C_in, H, W) -> (B, C_out, H / stride, W / stride). As a_l is 0 or 1, the blend is a branch.
        A scheme is the bits a_l of all stages, a path the network that they choose; gates are the bits as a tensor
        (`ean_core.supernet.gates`). The attention's state starts empty and moves only at connected blocks; with one
        module per block, no state is passed on.
        """
        state: State = None
        for index, bit in enumerate(self.bits):
            residual, shortcut = getattr(self, str(index))(x)
            if bit:
                residual, state = self.recalibrate(index, residual, state)
            elif self.mean_masks is not None:
                residual = self.mean_masks(index, residual)
            x = self.activation(residual if shortcut is None else residual + shortcut)
        return x

    def recalibrate(self, index: int, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """The residual (B, C, H, W) of block `index` after its attention, and the state for the next block."""
        attention, state = self.attention_of(index), state if self.is_shared else None
        if self.mean_masks is None or not self.mean_masks.observing:
            return attention(residual, state)
        # Each call runs once: a second run for its mask would update the statistics of an attention's own norm again.
        if only_multiplies(attention):
            mask, new_state = attention.mask(residual, state)
            self.mean_masks.observe(index, residual, mask=mask)
            return residual * mask, new_state
        output, new_state = attention(residual, state)
        self.mean_masks.observe(index, residual, output=output)
        return output, new_state

    @property
    def blocks(self) -> list[nn.Module]:
        """The residual blocks, in order."""
        return [self.get_submodule(str(index)) for index in range(self.depth)]

    @property
    def is_shared(self) -> bool:
        """Whether one attention module serves all blocks."""
        return not isinstance(self.attention, nn.ModuleList)

    def attention_of(self, index: int) -> nn.Module | None:
        """The attention module of block `index`, connected or not; None if it has none."""
        if self.is_shared:
            return self.attention
        module = self.attention[index]
        return None if isinstance(module, nn.Identity) else module

    def check_bits(self, bits: Sequence[int]) -> None:
        """Check that every block whose bit is 1 has an attention module.

        Raises:
            EANError: for a wrong number of bits, or if the attention was not built or was pruned.
        """
        if len(bits) != self.depth:
            raise EANError(f"the stage has {self.depth} blocks, got {len(bits)} bits")
        for index, bit in enumerate(bits):
            if bit and self.attention_of(index) is None:
                raise EANError(
                    f"the scheme connects block {index} of a stage, but this network has no attention there: build it "
                    "with attention=..., or use the network from before prune()"
                )

    def prune(self) -> None:
        """Remove, in place, the attention that no connected block uses, and fold the mean masks into the blocks."""
        if self.mean_masks is not None:
            self.fold_mean_masks(self.mean_masks)
        if not self.is_shared:
            for index, bit in enumerate(self.bits):
                if not bit:
                    self.attention[index] = nn.Identity().train(
                        self.training
                    )  # folding requires eval mode in all modules
        if not any(self.bits):
            self.attention = None

    def fold_mean_masks(self, means: MeanMasks) -> None:
        """Multiply, in place, the last norms of unconnected blocks by their mean masks, and remove those.

        Where something lies between norm and addition, such as an attention of the trunk's own, they stay.
        """
        remaining = 0
        for index, bit in enumerate(self.bits):
            norm, after = self.blocks[index].residual_end()
            if not bit and after:
                remaining += 1
            elif not bit:
                scale_output(norm, means.masks[index])
                means.masks[index] = 1.0
        if not remaining:
            self.mean_masks = None
