"""A stage of a network that is done training: same blocks, same scheme, same function, faster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ean_core.attention import Attention, State
from ean_core.deploy.block_tails import AdditionTail, AttentionTail, BlockTail, MeanMaskTail
from ean_core.deploy.tail_registry import find_tails
from ean_core.networks.blocks import Bottleneck
from ean_core.networks.stage import Stage


def run_block(block: nn.Module, tail: BlockTail, x: Tensor, state: State) -> tuple[Tensor, State]:
    """A block's input (B, C_in, H, W) -> its output (B, C_out, H / stride, W / stride), and the state after it."""
    features, shortcut = block.forward_hidden(x) if tail.takes_hidden else block(x)
    return tail(features, shortcut, state)


class InferenceStage(Stage):
    """A `Stage` whose blocks are closed by tails, which fuse recalibration, addition and activation, in place.

    Every block has two tails, for when its bit is set and when it is not, so that `set_scheme` works as before.

    Args:
        stage: its blocks, attention and bits are taken over.
        connected: a tail for every block that has an attention, None for the others.
        unconnected: a tail for every block.
    """

    # What runs a block whose bit is set, and one whose bit is not. Two names for one function here, because
    # `CompiledStage` replaces them by two compiled ones.
    run_connected = run_unconnected = staticmethod(run_block)

    def __init__(
        self, stage: Stage, *, connected: Sequence[BlockTail | None], unconnected: Sequence[BlockTail]
    ) -> None:
        super().__init__(stage.blocks, stage.attention, activation=stage.activation)
        self.bits = stage.bits
        self.connected = nn.ModuleList(nn.Identity() if tail is None else tail for tail in connected)
        self.unconnected = nn.ModuleList(unconnected)
        self.train(stage.training)

    @classmethod
    def from_stage(cls, stage: Stage, *, backend: str = "torch") -> InferenceStage:
        """Choose the tails for the blocks of a stage.

        Bottlenecks whose batch norms are folded get fused tails, computed from their weights as they are now.

        Args:
            stage: in eval mode; its blocks and attention are shared with the result.
            backend: of `ean_core.deploy.tail_registry.TAILS`.
        """
        connected: list[BlockTail | None] = [None] * stage.depth
        for attention, indices in blocks_by_attention(stage):
            for index, tail in zip(indices, choose_tails(stage, indices, attention, backend), strict=True):
                connected[index] = tail
        unconnected = choose_tails(stage, range(stage.depth), None, backend)
        if isinstance(stage, InferenceStage):  # with other tails before: they hold its mean masks
            kept = zip(stage.unconnected, unconnected, strict=True)
            unconnected = [old if isinstance(old, MeanMaskTail) else new for old, new in kept]
        elif (means := stage.mean_masks) is not None:
            unconnected = [MeanMaskTail(mask, activation=stage.activation) for mask in means.masks]
        return cls(stage, connected=connected, unconnected=unconnected)

    def forward(self, x: Tensor) -> Tensor:
        """As `Stage.forward`; the input is not overwritten."""
        state: State = None
        for index, bit in enumerate(self.bits):
            block = getattr(self, str(index))
            if bit:
                x, state = self.run_connected(block, self.connected[index], x, state if self.is_shared else None)
            else:
                x, _ = self.run_unconnected(block, self.unconnected[index], x, None)
        return x

    def prune(self) -> None:
        """See `Stage.prune`; the tails go with their attention."""
        super().prune()
        for index in range(self.depth):
            if self.attention_of(index) is None:
                self.connected[index] = nn.Identity().train(self.training)


def blocks_by_attention(stage: Stage) -> Iterator[tuple[Attention, Sequence[int]]]:
    """Every attention module of a stage, and the blocks that are or would be connected to it."""
    if not stage.is_shared:
        for index in range(stage.depth):
            if stage.attention_of(index) is not None:
                yield stage.attention_of(index), [index]
    elif stage.attention is not None:
        yield stage.attention, range(stage.depth)


def choose_tails(stage: Stage, indices: Sequence[int], attention: Attention | None, backend: str) -> list[BlockTail]:
    """The tails of some blocks of a stage, for when they are connected to `attention`, or to none."""
    if stage.activation is not torch.relu_:  # all other tails end with it
        return [
            AdditionTail(activation=stage.activation)
            if attention is None
            else AttentionTail(attention, activation=stage.activation)
            for _ in indices
        ]
    tails = find_tails(attention, backend)
    fused: dict[int, BlockTail] = {}
    bottlenecks = [index for index in indices if is_folded_bottleneck(stage.blocks[index])]
    if tails.fused is not None and bottlenecks:
        convolutions = [stage.blocks[index].conv3 for index in bottlenecks]
        fused = dict(zip(bottlenecks, tails.fused(attention, convolutions), strict=True))
    return [fused[index] if index in fused else tails.residual(attention) for index in indices]


def is_folded_bottleneck(block: nn.Module) -> bool:
    """Whether nothing follows the last convolution and the projection of a bottleneck: they have taken up the norms."""
    if type(block) is not Bottleneck:
        return False
    norms = [block.bn3, *([] if block.downsample is None else [block.downsample[1]])]
    return all(type(norm) is nn.Identity for norm in norms)
