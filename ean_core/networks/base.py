"""What every network with attention is: a stem, stages whose attention a scheme connects, pooling and a linear head."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from ean_core.networks.stage import Stage
from ean_core.scheme import Scheme, SchemeLike, as_scheme

_Network = TypeVar("_Network", bound="StagedNetwork")


class SchemeWarning(UserWarning):
    """Weights were loaded into a network whose connections are not those of the network that they were taken from."""


class StagedNetwork(nn.Module):
    """Base of the networks; a subclass has the stages as `layer1`, `layer2`, .. and a `forward_stem`.

    Attributes:
        stages_blocks: blocks of each stage.
        stage_channels: channels that each stage gives.
        sharing: "stage", one attention module per stage (Share-full, EAN); "block", one per block (Org-full).
        stem_kind: "cifar" or "imagenet", the kind of images it is for.
        in_channels: of the images.
        fc: the head, or None.
    """

    stages_blocks: tuple[int, ...]
    stage_channels: tuple[int, ...]
    sharing: str
    stem_kind: str
    in_channels: int
    fc: nn.Linear | None

    # -- the path -----------------------------------------------------------------------------------------------

    @property
    def stages(self) -> list[Stage]:
        """layer1, layer2, .. in order."""
        return [self.get_submodule(f"layer{number + 1}") for number in range(len(self.stages_blocks))]

    @property
    def scheme(self) -> Scheme:
        """The bits that are set now."""
        return Scheme(tuple(bit for stage in self.stages for bit in stage.bits), self.stages_blocks)

    def set_scheme(self, scheme: SchemeLike) -> None:
        """Choose the path: bits, a `Scheme`, a scheme.json or None for all ones; see `as_scheme`.

        Raises:
            EANError: for a scheme of another network, or a connection to attention that is not there.
        """
        scheme = as_scheme(scheme, self.stages_blocks)
        pairs = list(zip(self.stages, scheme.stages, strict=True))
        for stage, bits in pairs:
            stage.check_bits(bits)  # all of them first: a refused scheme must not be set by half
        for stage, bits in pairs:
            stage.bits = bits

    def prune(self: _Network) -> _Network:
        """A copy with the current scheme and without the attention that it does not connect.

        In eval mode its outputs equal this network's.
        """
        pruned = copy.deepcopy(self)
        for stage in pruned.stages:
            stage.prune()
        return pruned

    def keep_stages(self, count: int) -> None:
        """Drop, in place, the stages after the first `count`, for tasks that look at features and not at logits.

        Parameters that no loss reaches would stop distributed training.
        """
        for number in range(count, len(self.stages_blocks)):
            delattr(self, f"layer{number + 1}")
        self.stages_blocks = self.stages_blocks[:count]
        self.stage_channels = self.stage_channels[:count]

    # -- the scheme beside the weights --------------------------------------------------------------------------

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Add the scheme to the state dict's metadata, which holds torch's module versions and is saved with it.

        Keys and tensors stay as they are, so that all files can be read as before.
        """
        super()._save_to_state_dict(destination, prefix, keep_vars)
        metadata = getattr(destination, "_metadata", {})
        if prefix[:-1] in metadata:
            metadata[prefix[:-1]]["scheme"] = str(self.scheme)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], *rest: Any
    ) -> None:
        """Warn of weights with another scheme: all keys match, and the outputs would still be others."""
        theirs, ours = local_metadata.get("scheme"), str(self.scheme)
        if theirs is not None and theirs != ours:
            warnings.warn(
                f"the weights are those of a network with the connections {theirs}, and this network has {ours}: its "
                "outputs are others than that network's; set_scheme gives it the same connections",
                SchemeWarning,
                stacklevel=4,  # the caller of load_state_dict
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    # -- forward ------------------------------------------------------------------------------------------------

    def forward_stem(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> what the first stage takes."""
        raise NotImplementedError

    def forward_features(self, x: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) -> the output of every stage, each (B, stage_channels[i], H_i, W_i)."""
        x = self.forward_stem(x)
        features = []
        for number in range(len(self.stages_blocks)):
            x = getattr(self, f"layer{number + 1}")(x)
            features.append(x)
        return features

    def forward_head(self, features: Tensor) -> Tensor:
        """The last stage's features (B, C, H, W) -> logits (B, num_classes), or (B, C) without a head."""
        pooled = features.mean(dim=(2, 3))
        return pooled if self.fc is None else self.fc(pooled)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x)[-1])

    # -- for deployment and public weights ----------------------------------------------------------------------

    def replace_stages(self, convert: Callable[[Stage], Stage]) -> None:
        """Put `convert(stage)` in the place of every stage, in place."""
        for number, stage in enumerate(self.stages):
            self.add_module(f"layer{number + 1}", convert(stage))

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """Names of every convolution and of the batch norm that directly follows it, outside attention."""
        raise NotImplementedError

    def own_name(self, public_name: str) -> str:
        """What a tensor of the public weights is called here."""
        return public_name
