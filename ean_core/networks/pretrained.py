"""Load pretrained weights into a network, for all tasks; weights that do not fit are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ean_core.networks.architectures import stages_blocks
from ean_core.networks.base import StagedNetwork
from ean_core.networks.neutral_start import start_neutral
from ean_core.networks.timm_backbone import TimmNetwork
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.networks.weights_file import PUBLIC, Weights, as_weights, read_weights
from ean_core.scheme import as_scheme
from ean_core.utils.checked_dataclasses import check_arguments
from ean_core.utils.errors import EANError
from ean_core.utils.text import how_many

MAX_NAMES = 6  # names listed in a message


@dataclass(frozen=True)
class LoadReport:
    """Result of loading weights, as names in the network's state dict; can be printed.

    Attributes:
        source: as given by the user.
        loaded: loaded from the file.
        missing: kept at their initial value: attention, and a head that the file lacks or has in another size.
        zeroed: convolution biases that the file lacks, set to zero, which computes the same function.
        unused: in the file but not in the network.
        notes: further remarks.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    zeroed: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.missing:
            parts.append(f"{len(self.missing)} left at their initial value: {shorten_names(self.missing)}")
        if self.zeroed:
            parts.append(f"{len(self.zeroed)} convolution biases set to zero")
        if self.unused:
            parts.append(f"{len(self.unused)} in the file but not used: {shorten_names(self.unused)}")
        return f"{self.source}: {'; '.join((*parts, *self.notes))}"


SOURCE = Mapping[str, Tensor] | str | Path


def load_torchvision_weights(network: StagedNetwork, state_dict: Mapping[str, Tensor] | str | Path) -> LoadReport:
    """Load public weights into a network; attention that the weights lack starts neutral, see `load_weights`.

    Args:
        network: built by `create_model` with the weights' architecture; missing convolution biases are set to zero.
        state_dict: of torchvision's network, such as `torchvision.models.resnet50(...).state_dict()`, or of timm's for
            a `timm:` architecture; or a source for `ean_core.networks.weights_file.read_weights`: a file, a URL,
            "torchvision://resnet50", or "imagenet" for the public weights of a `timm:` architecture.

    Returns:
        a report of what was loaded, which can be printed.

    Raises:
        EANError: if the weights cannot be read or downloaded, or belong to another network, which is then unchanged.
    """
    check_arguments("load_torchvision_weights", network=(network, StagedNetwork), state_dict=(state_dict, SOURCE))
    if isinstance(state_dict, Mapping):
        return load_weights(network, as_weights(state_dict, source="the state dict"))
    arch = f"timm:{network.name}" if isinstance(network, TimmNetwork) else None
    if arch is None and str(state_dict) in PUBLIC:
        raise EANError(f"{state_dict!r} needs a timm: architecture: give torchvision://resnet50 for other networks")
    return load_weights(network, read_weights(state_dict, arch=arch))


def load_weights(network: StagedNetwork, weights: Weights, *, spec: TrunkSpec | None = None) -> LoadReport:
    """Load weights into a network, whose head and attention may differ.

    Attention that the weights lack starts neutral: the network computes what the weights' does
    (`ean_core.networks.neutral_start`).

    Args:
        network: changed in place.
        weights: of the same architecture.
        spec: the arguments that built the network, before stages were removed; None: derived from the network.

    Returns:
        a report of what was loaded.

    Raises:
        EANError: if the weights belong to another network: a tensor of the trunk is missing, unexpected or has another
            shape; or the attention differs. The network is then unchanged.
    """
    if spec is not None:
        check_spec(weights, spec, channels=network.in_channels)
    blocks = network.stages_blocks if spec is None else stages_blocks(spec.arch)
    tensors = {network.own_name(name): value for name, value in weights.tensors.items()}
    own = network.state_dict()
    check_depth(tensors, blocks, weights.source)
    check_attention(tensors, connected_attention(network, own), weights.source)
    loaded, missing, zeroed, mismatched = [], [], [], []
    for name, value in own.items():
        tensor = tensors.get(name)
        if tensor is not None and fits(tensor, value):
            loaded.append(name)
        elif name.startswith("fc.") or (tensor is None and (".attention." in name or ".mean_masks." in name)):
            missing.append(name)
        elif tensor is None and is_conv_bias(network, name):
            zeroed.append(name)
        elif tensor is not None or not name.endswith("num_batches_tracked"):
            in_file = "missing" if tensor is None else f"{kind_of(tensor)}"
            mismatched.append(f"{name} ({in_file} in the file, {kind_of(value)} in the network)")
    unused = [name for name in tensors if name not in own or name in missing]
    unexpected = [name for name in unused if name not in own and belongs_to_trunk(name, own, network)]
    if mismatched or unexpected:
        raise another_network(weights.source, mismatched, unexpected)
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(tensors[name])
        for name in zeroed:
            own[name].zero_()
    notes = notes_on(weights, network)
    if not carries_attention(weights) and network.scheme.connections:
        notes = (*notes, *filter(None, [str(start_neutral(network))]))
    return LoadReport(weights.source, tuple(loaded), tuple(missing), tuple(zeroed), tuple(unused), notes)


# -- what does not fit -------------------------------------------------------------------------------------------------


def check_spec(weights: Weights, spec: TrunkSpec, *, channels: int) -> None:
    """Refuse a file of this project whose network differs from `spec`, or takes images of other channels.

    Raises:
        EANError: with the difference.
    """
    check_arch(weights, spec.arch)
    file_spec = weights.spec
    if file_spec is None:
        return
    if file_spec.in_channels != channels:
        raise EANError(
            f"{weights.source} was trained on images with {how_many(file_spec.in_channels, 'channel')}, but the new "
            f"network takes {channels}: give weights for such images"
        )
    both = file_spec.attention is not None and spec.attention is not None
    if both and describe_attention(file_spec) != describe_attention(spec):
        raise EANError(
            f"{weights.source} was trained with attention {describe_attention(file_spec)}, but the new network has "
            f"{describe_attention(spec)}: use the attention of the file, or weights without attention"
        )


def check_arch(weights: Weights, arch: str) -> None:
    """Refuse a file of another architecture; weights without convolution biases fit a network with them.

    Raises:
        EANError: with both architectures.
    """
    if weights.spec is not None and weights.spec.arch not in (arch, f"{arch}_nobias"):
        raise EANError(
            f"{weights.source} holds a {weights.spec.arch}, but the new network is a {arch}: give weights of a {arch}, "
            f"or build a {weights.spec.arch}"
        )


STARTING_OPTIONS = frozenset({"init"})
"""Options of attentions that only set initial weights, which loaded weights replace."""


def describe_attention(spec: TrunkSpec) -> str:
    """Attention, sharing and options as text, with tuples as lists, as in files."""
    kept = {name: value for name, value in spec.attention_options.items() if name not in STARTING_OPTIONS}
    options = f" with {json.dumps(kept, sort_keys=True)}" if kept else ""
    return f"{spec.attention} (one module per {spec.sharing}{options})"


def check_depth(tensors: Iterable[str], blocks: Sequence[int], source: str) -> None:
    """Refuse weights with more stages, or more blocks in a stage, than the architecture.

    Raises:
        EANError: with the first extra block.
    """
    matches = filter(None, (re.match(r"layer(\d+)\.(\d+)\.", name) for name in tensors))
    for stage, block in sorted({(int(match[1]), int(match[2])) for match in matches}):
        if stage > len(blocks) or block >= blocks[stage - 1]:
            depth = f"{len(blocks)} stages" if stage > len(blocks) else f"{blocks[stage - 1]} blocks in layer{stage}"
            raise EANError(
                f"{source} holds the weights of another network, a deeper one: it has layer{stage}.{block}, but the "
                f"new network has {depth}; build the architecture of the file"
            )


def connected_attention(network: StagedNetwork, own: Iterable[str]) -> list[str]:
    """Names in the network's state dict that belong to attention connected by its scheme."""
    connected = []
    for number, stage in enumerate(network.stages, start=1):
        blocks = [f"layer{number}.attention.{index}." for index, bit in enumerate(stage.bits) if bit]
        shared = [f"layer{number}.attention."] if blocks else []
        connected += blocks if network.sharing == "block" else shared
    return [name for name in own if name.startswith(tuple(connected))]


def check_attention(tensors: Mapping[str, Tensor], connected: Iterable[str], source: str) -> None:
    """Refuse weights with attention that lack part of the network's connected attention.

    Weights without any attention are accepted; attention then keeps its initial values.

    Raises:
        EANError: with the first missing tensor.
    """
    in_weights = {name for name in tensors if ".attention." in name}
    for name in connected if in_weights else ():
        if name not in in_weights:
            raise EANError(
                f"{source} has attention in {shorten_names(in_weights)}, but the new network also has {name}: "
                "use the attention and the scheme of the file, or weights without attention"
            )


def carries_attention(weights: Weights) -> bool:
    """Whether weights were trained with attention, which may have no parameters (timm:ge)."""
    if any(".attention." in name for name in weights.tensors):
        return True
    spec = weights.spec
    if spec is None or spec.attention is None:
        return False
    return spec.scheme is None or as_scheme(spec.scheme, stages_blocks(spec.arch)).connections > 0


def belongs_to_trunk(name: str, own: Mapping[str, Tensor], network: StagedNetwork) -> bool:
    """Whether an unexpected tensor belongs to the trunk, and so would change its output, unlike a head's.

    Removed stages, and attention and mean masks that the network does not have, do not count.
    """
    first = name.split(".")[0]
    stage = re.fullmatch(r"layer(\d+)", first)
    if stage is not None:
        return int(stage[1]) <= len(network.stages_blocks) and not re.search(r"\.(attention|mean_masks)\.", name)
    return first != "fc" and any(key.startswith(f"{first}.") for key in own)


def another_network(source: str, mismatched: Sequence[str], unexpected: Sequence[str]) -> EANError:
    """The error for weights of another network."""
    problem = (
        f"{how_many(len(mismatched), 'mismatched tensor')}, the first is {mismatched[0]}"
        if mismatched
        else f"it has {shorten_names(unexpected)}, which the new network lacks"
    )
    return EANError(f"{source} holds the weights of another network: {problem}; build the architecture of the file")


# -- text -------------------------------------------------------------------------------------------------------------


def notes_on(weights: Weights, network: StagedNetwork) -> tuple[str, ...]:
    """Remarks: averaged weights were used; the file has another scheme."""
    notes = [f"the averaged weights under {weights.averaged!r} were used"] if weights.averaged else []
    spec = weights.spec
    if spec is not None and spec.attention is not None:
        trained, path = as_scheme(spec.scheme, stages_blocks(spec.arch)), network.scheme
        if trained.bits[: len(path)] != path.bits:
            notes.append(f"it was trained with the connections {trained}, but the network has {path}")
    return tuple(notes)


def shorten_names(names: Iterable[str]) -> str:
    """The first few names, with one entry per attention module."""
    groups = list(dict.fromkeys(re.sub(r"\.attention\..*", ".attention", name) for name in names))
    more = f" and {len(groups) - MAX_NAMES} more" if len(groups) > MAX_NAMES else ""
    return ", ".join(groups[:MAX_NAMES]) + more


def fits(tensor: Tensor, own: Tensor) -> bool:
    """Whether a tensor can be copied: equal shapes, and no integers for floating-point weights."""
    return tensor.shape == own.shape and (tensor.is_floating_point() or not own.is_floating_point())


def kind_of(tensor: Tensor) -> str:
    """The shape, and the dtype unless it is floating point."""
    return f"{tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else f" of {tensor.dtype}")


def is_conv_bias(network: StagedNetwork, name: str) -> bool:
    """Whether a name in the state dict is the bias of a convolution."""
    module, _, leaf = name.rpartition(".")
    return leaf == "bias" and isinstance(network.get_submodule(module), torch.nn.Conv2d)
