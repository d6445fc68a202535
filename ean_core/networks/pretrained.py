"""Copying weights to start from into a network, for all tasks in one way: what does not fit is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ean_core.networks import stages_blocks
from ean_core.networks.base import StagedNetwork
from ean_core.networks.timm_backbone import TimmNetwork
from ean_core.networks.weights_file import PUBLIC, TrunkSpec, Weights, as_weights, read_weights
from ean_core.scheme import as_scheme
from ean_core.utils.errors import EANError

SHOWN = 6  # names in a sentence


@dataclass(frozen=True)
class LoadReport:
    """What a load did, by name of the network's state; `print` it.

    Attributes:
        source: what the user gave.
        loaded: taken from the file.
        missing: not taken, and kept as they were: attention, and a head that the file lacks or has in another size.
        zeroed: convolution biases that the file does not have, set to zero, which gives the same function.
        unused: in the file, but not in the network.
        notes: what else is worth knowing.
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
            parts.append(f"{len(self.missing)} left at their initial value: {listed(self.missing)}")
        if self.zeroed:
            parts.append(f"{len(self.zeroed)} convolution biases set to zero")
        if self.unused:
            parts.append(f"{len(self.unused)} in the file but not used: {listed(self.unused)}")
        return f"{self.source}: {'; '.join((*parts, *self.notes))}"


def load_torchvision_weights(network: StagedNetwork, state_dict: Mapping[str, Tensor] | str | Path) -> LoadReport:
    """Copy weights into a network; attention that the weights lack keeps its initial value.

    Args:
        network: built by `create_model` with the weights' depth; biased convolutions get a zero bias.
        state_dict: of torchvision's network, as from `torchvision.models.resnet50(...).state_dict()`, or of timm's for
            a `timm:` architecture; or what `ean_core.networks.weights_file.read_weights` reads: a file, an address,
            "torchvision://resnet50", or "imagenet" for the public weights of timm's architecture.

    Returns:
        what was loaded and what was left; `print` it.

    Raises:
        EANError: if the weights cannot be read or fetched, or are those of another network; nothing is changed then.
    """
    if isinstance(state_dict, Mapping):
        return load_weights(network, as_weights(state_dict, source="the state dict"))
    arch = f"timm:{network.name}" if isinstance(network, TimmNetwork) else None
    if arch is None and str(state_dict) in PUBLIC:
        raise EANError(f"{state_dict} fetches weights by the name of a timm: architecture: give torchvision://resnet50")
    return load_weights(network, read_weights(state_dict, arch=arch))


def load_weights(network: StagedNetwork, weights: Weights, *, spec: TrunkSpec | None = None) -> LoadReport:
    """Copy weights into a network, whose head and attention may be others.

    Args:
        network: changed in place.
        weights: of the same architecture.
        spec: what the network was built from, with all its stages; None: what the network itself shows.

    Returns:
        what was loaded, and what was not.

    Raises:
        EANError: if the weights are of another network: a tensor of the trunk is missing, has another shape, or has no
            place in this one, as a deeper network's; or the attention differs. Nothing is changed then.
    """
    if spec is not None:
        check_spec(weights, spec)
    blocks = network.stages_blocks if spec is None else stages_blocks(spec.arch)
    given = {network.own_name(name): value for name, value in weights.tensors.items()}
    own = network.state_dict()
    check_depth(given, blocks, weights.source)
    check_attention(given, connected_attention(network, own), weights.source)
    loaded, missing, zeroed, wrong = [], [], [], []
    for name, value in own.items():
        tensor = given.get(name)
        if tensor is not None and fits(tensor, value):
            loaded.append(name)
        elif name.startswith("fc.") or (tensor is None and ".attention." in name):
            missing.append(name)
        elif tensor is None and is_conv_bias(network, name):
            zeroed.append(name)
        elif tensor is not None or not name.endswith("num_batches_tracked"):
            found = "missing" if tensor is None else f"{kind_of(tensor)}"
            wrong.append(f"{name} ({found} in the file, {kind_of(value)} in the network)")
    unused = [name for name in given if name not in own or name in missing]
    strangers = [name for name in unused if name not in own and belongs_to_trunk(name, own, network)]
    if wrong or strangers:
        raise another_network(weights.source, wrong, strangers)
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(given[name])
        for name in zeroed:
            own[name].zero_()
    notes = notes_on(weights, network)
    return LoadReport(weights.source, tuple(loaded), tuple(missing), tuple(zeroed), tuple(unused), notes)


# -- what does not fit -------------------------------------------------------------------------------------------------


def check_spec(weights: Weights, spec: TrunkSpec) -> None:
    """Refuse a file of ours whose network is another one than `spec` says.

    Raises:
        EANError: naming what differs.
    """
    check_arch(weights, spec.arch)
    theirs = weights.spec
    if theirs is None:
        return
    if theirs.in_channels != spec.in_channels:
        raise EANError(
            f"{weights.source} was trained on images with {theirs.in_channels} channel(s), and the network to start "
            f"takes {spec.in_channels}: give weights of such images"
        )
    both = theirs.attention is not None and spec.attention is not None
    if both and in_words(theirs) != in_words(spec):
        raise EANError(
            f"{weights.source} was trained with attention {in_words(theirs)}, and the network to start has "
            f"{in_words(spec)}: give it the attention that the file was trained with, or weights without any"
        )


def check_arch(weights: Weights, arch: str) -> None:
    """Refuse a file of ours of another architecture; one without convolution biases fits the one with them.

    Raises:
        EANError: naming both.
    """
    if weights.spec is not None and weights.spec.arch not in (arch, f"{arch}_nobias"):
        raise EANError(
            f"{weights.source} holds a {weights.spec.arch}, and the network to start is a {arch}: give weights of a "
            f"{arch}, or build a {weights.spec.arch}"
        )


def in_words(spec: TrunkSpec) -> str:
    """Attention, sharing and options, as files hold them: tuples are lists there."""
    options = f" with {json.dumps(dict(spec.attention_options), sort_keys=True)}" if spec.attention_options else ""
    return f"{spec.attention} (one module per {spec.sharing}{options})"


def check_depth(given: Iterable[str], blocks: Sequence[int], source: str) -> None:
    """Refuse weights that have more stages, or more blocks in a stage, than the architecture.

    Raises:
        EANError: naming the first block that is too many.
    """
    matches = filter(None, (re.match(r"layer(\d+)\.(\d+)\.", name) for name in given))
    for stage, block in sorted({(int(match[1]), int(match[2])) for match in matches}):
        if stage > len(blocks) or block >= blocks[stage - 1]:
            here = f"{len(blocks)} stages" if stage > len(blocks) else f"{blocks[stage - 1]} blocks in layer{stage}"
            raise EANError(
                f"{source} holds the weights of another network, a deeper one: it has layer{stage}.{block}, and the "
                f"network to start has {here}; build the architecture that the file was made with"
            )


def connected_attention(network: StagedNetwork, own: Iterable[str]) -> list[str]:
    """The names of the network's state that belong to attention which its scheme connects."""
    connected = []
    for number, stage in enumerate(network.stages, start=1):
        blocks = [f"layer{number}.attention.{index}." for index, bit in enumerate(stage.bits) if bit]
        whole = [f"layer{number}.attention."] if blocks else []
        connected += blocks if network.sharing == "block" else whole
    return [name for name in own if name.startswith(tuple(connected))]


def check_attention(given: Mapping[str, Tensor], wanted: Iterable[str], source: str) -> None:
    """Refuse attention of another kind, and weights in which a part of the wanted attention is missing.

    Weights without any attention may start a network with some, which then keeps its initial values.

    Raises:
        EANError: naming the first tensor.
    """
    theirs = {name for name in given if ".attention." in name}
    for name in wanted if theirs else ():
        if name not in theirs:
            raise EANError(
                f"{source} has attention in {listed(theirs)}, and the network to start has {name} too: give it the "
                "attention and the scheme that the file was trained with, or weights without attention"
            )


def belongs_to_trunk(name: str, own: Mapping[str, Tensor], network: StagedNetwork) -> bool:
    """Whether a tensor that the network has no place for changes what its trunk computes, unlike a head's.

    Stages that were not built are left out, as they are no part of this trunk, and so is attention that the network has
    not.
    """
    first = name.split(".")[0]
    stage = re.fullmatch(r"layer(\d+)", first)
    if stage is not None:
        return int(stage[1]) <= len(network.stages_blocks) and ".attention." not in name
    return first != "fc" and any(one.startswith(f"{first}.") for one in own)


def another_network(source: str, wrong: Sequence[str], strangers: Sequence[str]) -> EANError:
    """The sentence for weights that do not fit."""
    what = (
        f"{len(wrong)} tensor(s) do not fit, the first is {wrong[0]}"
        if wrong
        else f"it has {listed(strangers)}, for which the network to start has no place"
    )
    return EANError(
        f"{source} holds the weights of another network: {what}; build the architecture that the file was made with"
    )


# -- words -------------------------------------------------------------------------------------------------------------


def notes_on(weights: Weights, network: StagedNetwork) -> tuple[str, ...]:
    """That averaged weights were taken, and that a file's attention was connected to other blocks."""
    notes = [f"the averaged weights under {weights.averaged!r} were taken"] if weights.averaged else []
    spec = weights.spec
    if spec is not None and spec.attention is not None:
        trained, path = as_scheme(spec.scheme, stages_blocks(spec.arch)), network.scheme
        if trained.bits[: len(path)] != path.bits:
            notes.append(f"it was trained with the connections {trained}, and the network has {path}")
    return tuple(notes)


def listed(names: Iterable[str]) -> str:
    """The first names, those of one attention module as one."""
    groups = list(dict.fromkeys(re.sub(r"\.attention\..*", ".attention", name) for name in names))
    more = f" and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    return ", ".join(groups[:SHOWN]) + more


def fits(tensor: Tensor, own: Tensor) -> bool:
    """Whether a tensor of the file can stand for one of the network: whole numbers cannot stand for weights."""
    return tensor.shape == own.shape and (tensor.is_floating_point() or not own.is_floating_point())


def kind_of(tensor: Tensor) -> str:
    """Shape, and the type where it is no floating-point number."""
    return f"{tuple(tensor.shape)}" + ("" if tensor.is_floating_point() else f" of {tensor.dtype}")


def is_conv_bias(network: StagedNetwork, name: str) -> bool:
    """Whether a name of the state is the bias of a convolution."""
    module, _, leaf = name.rpartition(".")
    return leaf == "bias" and isinstance(network.get_submodule(module), torch.nn.Conv2d)
