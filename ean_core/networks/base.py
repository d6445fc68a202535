"""Base class of networks with attention: a stem, stages with a scheme, pooling and a linear head."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from ean_core.networks.mean_masks import MeanMasks
from ean_core.networks.stage import Stage
from ean_core.scheme import Scheme, SchemeLike, as_scheme
from ean_core.utils.errors import EANError

_Network = TypeVar("_Network", bound="StagedNetwork")


class SchemeWarning(UserWarning):
    """Weights were loaded into a network with another scheme than the one they were saved with."""


class StagedNetwork(nn.Module):
    """Base class; a subclass defines the stages `layer1`, `layer2`, .. and `forward_stem`.

    Attributes:
        stages_blocks: number of blocks of each stage.
        stage_channels: output channels of each stage.
        sharing: "stage", one attention module per stage (Share-full, EAN); "block", one per block (Org-full).
        stem_kind: "cifar" or "imagenet".
        in_channels: of the images.
        fc: the head, or None.
        made_with: the arguments of `create_model`, for `ean_core.save`; None for a network that was built otherwise.
    """

    stages_blocks: tuple[int, ...]
    stage_channels: tuple[int, ...]
    sharing: str
    stem_kind: str
    in_channels: int
    fc: nn.Linear | None
    made_with: Mapping[str, Any] | None = None

    # -- the path -----------------------------------------------------------------------------------------------

    @property
    def stages(self) -> list[Stage]:
        """The stages layer1, layer2, .. in order."""
        return [self.get_submodule(f"layer{number + 1}") for number in range(len(self.stages_blocks))]

    @property
    def scheme(self) -> Scheme:
        """The scheme that the network runs with now; see `set_scheme`."""
        return Scheme(tuple(bit for stage in self.stages for bit in stage.bits), self.stages_blocks)

    def set_scheme(self, scheme: SchemeLike) -> None:
        """Choose the path: bits, a `Scheme`, a scheme.json, a name, or None for all ones; see `as_scheme`.

        Raises:
            EANError: for a scheme of another network, or a connection to missing attention.
        """
        if isinstance(scheme, str) and scheme == "org-full" and self.sharing != "block":
            raise EANError(
                "org-full has an attention module per block, but this network has one per stage: build it with "
                "create_model(.., sharing='block')"
            )
        scheme = as_scheme(scheme, self.stages_blocks)
        pairs = list(zip(self.stages, scheme.stages, strict=True))
        for stage, bits in pairs:
            stage.check_bits(bits)  # check all first, so that a refused scheme is not set in part
        for stage, bits in pairs:
            stage.bits = bits

    def keep_mean_masks(self) -> None:
        """Multiply the residuals of blocks that are not connected by their running mean masks, from now on."""
        for stage, channels in zip(self.stages, self.stage_channels, strict=True):
            means = MeanMasks(stage.depth, channels).train(self.training)
            stage.mean_masks = means.to(next(stage.parameters()).device)

    def prune(self: _Network) -> _Network:
        """A copy with the current scheme, without the attention modules and the mean masks that it does not need.

        In eval mode its outputs equal this network's.
        """
        pruned = copy.deepcopy(self)
        for stage in pruned.stages:
            stage.prune()
        return pruned

    def keep_stages(self, count: int) -> None:
        """Remove, in place, all but the first `count` stages, for tasks that use features.

        Unused parameters would make distributed training fail.
        """
        for number in range(count, len(self.stages_blocks)):
            delattr(self, f"layer{number + 1}")
        self.stages_blocks = self.stages_blocks[:count]
        self.stage_channels = self.stage_channels[:count]

    # -- the scheme beside the weights --------------------------------------------------------------------------

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Add the scheme to the state dict's metadata, which torch saves with it; keys and tensors do not change."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        metadata = getattr(destination, "_metadata", {})
        if prefix[:-1] in metadata:
            metadata[prefix[:-1]]["scheme"] = str(self.scheme)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], *rest: Any
    ) -> None:
        """Warn about weights saved with another scheme: all keys match, but outputs differ."""
        saved, current = local_metadata.get("scheme"), str(self.scheme)
        if saved is not None and saved != current:
            warnings.warn(
                f"the weights were saved with the connections {saved}, but this network has {current}: its outputs "
                "will differ; use set_scheme to set the same connections",
                SchemeWarning,
                stacklevel=4,  # the caller of load_state_dict
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    # -- forward ------------------------------------------------------------------------------------------------

    def forward_stem(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the input of the first stage."""
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
        """Replace every stage by `convert(stage)`, in place."""
        for number, stage in enumerate(self.stages):
            self.add_module(f"layer{number + 1}", convert(stage))

    def conv_norm_pairs(self) -> Iterator[tuple[str, str]]:
        """Names of every convolution and the batch norm that directly follows it, except in attention."""
        raise NotImplementedError

    def own_name(self, public_name: str) -> str:
        """This network's name for a tensor of the public weights."""
        return public_name
