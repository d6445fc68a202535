"""The base of models that a task builds around a residual network with attention: a counter, a segmentor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import ClassVar, TypeVar

from torch import nn

from ean_core.networks.base import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.scheme import Scheme

_Model = TypeVar("_Model", bound="BackboneWrapper")


class BackboneWrapper(nn.Module):
    """A model that holds a `StagedNetwork`; scheme, pruning and folding are those of that network.

    Attributes:
        trunk_name: where the network is among the model's modules.
    """

    trunk_name: ClassVar[str] = "trunk"

    @property
    def network(self) -> StagedNetwork:
        """The network with attention."""
        return self.get_submodule(self.trunk_name)

    @property
    def stages(self) -> list[Stage]:
        """The stages of the network with attention."""
        return self.network.stages

    @property
    def scheme(self) -> Scheme:
        """The bits of the network with attention."""
        return self.network.scheme

    def prune(self: _Model) -> _Model:
        """A copy without the attention that the scheme does not connect; its outputs are equal."""
        pruned = copy.deepcopy(self)
        for stage in pruned.stages:
            stage.prune()
        return pruned

    def replace_stages(self, convert: Callable[[Stage], Stage]) -> None:
        """See `StagedNetwork.replace_stages`."""
        self.network.replace_stages(convert)

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """See `StagedNetwork.conv_norm_pairs`; a subclass adds the pairs of its own layers."""
        for pair in self.network.conv_norm_pairs():
            yield tuple(f"{self.trunk_name}.{name}" for name in pair)
