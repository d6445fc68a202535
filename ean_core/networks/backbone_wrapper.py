"""Base class of task models around a residual network with attention, such as counters and segmentors."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from ean_core.networks.base import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.scheme import Scheme, SchemeLike

_Model = TypeVar("_Model", bound="BackboneWrapper")


class BackboneWrapper(nn.Module):
    """A model around a `StagedNetwork`, to which it delegates scheme, pruning and folding.

    A model whose schemes are searched also implements `forward_stem`, and a method for what follows the stages.

    Attributes:
        trunk_name: dotted name of the network among the model's modules.
    """

    trunk_name: ClassVar[str] = "trunk"

    @property
    def network(self) -> StagedNetwork:
        """The residual network with attention inside the model."""
        return self.get_submodule(self.trunk_name)

    @property
    def stages(self) -> list[Stage]:
        """The stages of the network with attention."""
        return self.network.stages

    @property
    def stages_blocks(self) -> tuple[int, ...]:
        """Number of blocks of each stage."""
        return self.network.stages_blocks

    @property
    def scheme(self) -> Scheme:
        """The bits of the network with attention."""
        return self.network.scheme

    def set_scheme(self, scheme: SchemeLike) -> None:
        """Choose the path, as `StagedNetwork.set_scheme`."""
        self.network.set_scheme(scheme)

    def forward_stem(self, images: Tensor) -> Tensor:
        """Map the model's images (B, C, H, W) to the input of the first stage."""
        raise NotImplementedError

    def prune(self: _Model) -> _Model:
        """A copy without the attention that the scheme does not use, with equal outputs in eval mode."""
        pruned = copy.deepcopy(self)
        for stage in pruned.stages:
            stage.prune()
        return pruned

    def replace_stages(self, convert: Callable[[Stage], Stage]) -> None:
        """Replace every stage of the network by `convert(stage)`, in place."""
        self.network.replace_stages(convert)

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """Pairs of the network, with the prefix of its name; a subclass adds those of its own layers."""
        for pair in self.network.conv_norm_pairs():
            yield tuple(f"{self.trunk_name}.{name}" for name in pair)
