"""Mean masks: what an attention call does on average, folded into the layer beside it, so that it costs nothing.

A trained network expects its residuals at the scale that its masks give them. Taking a call out as if its mask were 1
changes that scale and ruins the network; a constant mask, the mean over images and positions of each channel, keeps it.
A constant scale of the channels is part of a batch norm's or a convolution's weights.

A call is named: `layer2.0` for the connected block 0 of the second stage, or the dotted name of a gate module that is
part of the network (timm's SE).
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ean_core.attention.masks import masks_of
from ean_core.deploy.fold import replace_submodule
from ean_core.deploy.scale_folding import neighbors_of
from ean_core.networks.scale_layers import scale_input, scale_last, scale_output
from ean_core.networks.stage import Stage
from ean_core.utils.errors import EANError

Masks = Mapping[str, Tensor]
"""Call -> mean mask (C,)."""

TOLERANCE = 1e-3
"""Largest difference of a folded network's output, relative to its largest value, that rounding can make."""

_Network = TypeVar("_Network", bound=nn.Module)


class AttentionCall(Protocol):
    """A place where a network applies attention; addressed by name, so that it is found in copies of the network."""

    @property
    def name(self) -> str:
        """The call's name, unique within the network."""
        ...

    def drop(self, network: nn.Module) -> None:
        """Take the call out, in place, as if its mask were 1."""
        ...

    def fold(self, network: nn.Module, mask: Tensor, probe: Tensor) -> None:
        """Put a constant mask (C,) in the call's place, in place; `probe` is a batch to find the neighbors with."""
        ...


@dataclass(frozen=True)
class StageCall:
    """The call of a stage's attention at one of its connected blocks."""

    stage: int
    block: int

    @property
    def name(self) -> str:
        return f"layer{self.stage + 1}.{self.block}"

    def drop(self, network: Any) -> None:
        """Clear the block's bit; see `AttentionCall`. In a supernet with mean masks the block's becomes 1."""
        stage: Stage = network.stages[self.stage]
        if stage.mean_masks is not None:
            stage.mean_masks.masks[self.block] = 1.0
        stage.bits = tuple(bit if index != self.block else 0 for index, bit in enumerate(stage.bits))

    def fold(self, network: Any, mask: Tensor, probe: Tensor) -> None:
        """See `AttentionCall`; the mask goes into the last batch norm or convolution of the block."""
        scale_last(network.stages[self.stage].blocks[self.block], mask, name=self.name)
        self.drop(network)


@dataclass(frozen=True)
class GateCall:
    """A gate module (SE and its like) that is part of the network."""

    name: str

    def drop(self, network: nn.Module) -> None:
        """Replace the module by an identity; see `AttentionCall`."""
        replace_submodule(network, self.name, nn.Identity().train(network.training))

    def fold(self, network: nn.Module, mask: Tensor, probe: Tensor) -> None:
        """See `AttentionCall`.

        Where nothing but the gate follows a batch norm or a convolution, the mask goes into that; after an activation
        (MobileNet, RegNet), into the convolution behind the gate.
        """
        before, after = neighbors_of(network, self.name, probe)
        if before is not None:
            scale_output(before, mask)
        elif after is not None:
            scale_input(after, mask)
        else:
            raise EANError(
                f"the attention {self.name} is next to neither a batch norm nor a convolution, so its mean mask "
                "cannot be folded: trim a network whose SE follows one of them, or is followed by a convolution"
            )
        self.drop(network)


def find_calls(network: nn.Module) -> list[AttentionCall]:
    """The attention calls of a network, in the order in which they run: those of its stages, or else its own gates."""
    calls: list[AttentionCall] = [
        StageCall(number, index)
        for number, stage in enumerate(getattr(network, "stages", ()))
        for index, bit in enumerate(stage.bits)
        if bit
    ]
    if calls or (getattr(network, "scheme", None) is not None and has_attention(network)):
        return calls
    return [GateCall(name) for name, module in network.named_modules() if type(module) in gate_types()]


def has_attention(network: Any) -> bool:
    """Whether any stage holds an attention module."""
    return any(stage.attention is not None for stage in network.stages)


@cache
def gate_types() -> tuple[type[nn.Module], ...]:
    """Modules that multiply features by a mask: timm's (without timm there are none of them) and torchvision's SE."""
    from torchvision.ops.misc import SqueezeExcitation

    try:
        from timm import layers
        from timm.models._efficientnet_blocks import SqueezeExcite
    except ImportError:
        return (SqueezeExcitation,)
    named = (layers.SEModule, layers.EffectiveSEModule, layers.EcaModule, layers.CecaModule, layers.GatherExcite)
    return (SqueezeExcitation, SqueezeExcite, *named)


# -- running with masks recorded or replaced --------------------------------------------------------------------------


@contextmanager
def _watch(network: Any, calls: Sequence[AttentionCall], see: _Watcher) -> Iterator[None]:
    """Run `see(call, module, inputs, output)` at every call; what it returns, unless None, is the call's output."""
    by_module: dict[nn.Module, list[str]] = defaultdict(list)
    for call in calls:
        if isinstance(call, StageCall):
            attention = network.stages[call.stage].attention_of(call.block)
            assert attention is not None
            by_module[attention].append(call.name)
        else:
            by_module[network.get_submodule(call.name)].append(call.name)
    counts: dict[nn.Module, int] = defaultdict(int)

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        names = by_module[module]  # a stage's module serves its connected blocks in order
        name = names[counts[module] % len(names)]
        counts[module] += 1
        return see(name, module, inputs, output)

    handles = [module.register_forward_hook(hook) for module in by_module]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_Watcher = Callable[[str, nn.Module, tuple[Any, ...], Any], Any]


@torch.no_grad()
def mean_masks(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """The mean mask of every attention call of a network.

    Masks are averaged over images and positions, channel by channel; those of a recurrent attention call by call, its
    state running on. An attention that gives no mask, only recalibrated features, has for a mask the scale of each
    image's channel that comes nearest to what it does (least squares): exact for a channel's gate. Images in which a
    channel is zero everywhere say nothing of that scale and are left out.

    Args:
        network: in eval mode.
        batches: normalized images (B, C, H, W) each, on the network's device.

    Returns:
        call -> (C,), in the calls' order.

    Raises:
        EANError: if a mean mask is not finite, or there are no images.
    """
    calls = find_calls(network)
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}

    def see(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        mask, known = masks_of(module, inputs, output)
        sums[name] = sums.get(name, 0) + torch.where(known, mask, 0.0).double().sum(dim=0)
        counts[name] = counts.get(name, 0) + known.double().sum(dim=0)

    with _watch(network, calls, see):
        for images in batches:
            network(images)
    means = {}
    for call in calls:
        if call.name not in sums:
            raise EANError("mean masks need images: the training part is empty")
        total, count = sums[call.name], counts[call.name]
        mean = total / count.clamp(min=1)
        # A channel that was zero in all images gets what the others get on average.
        mean = torch.where(count > 0, mean, mean[count > 0].mean() if bool((count > 0).any()) else 1.0)
        if not bool(mean.isfinite().all()):
            raise EANError(f"the mean mask of {call.name} is not finite: the network's training diverged")
        means[call.name] = mean.float()
    return means


@contextmanager
def constant_masks(network: nn.Module, masks: Masks) -> Iterator[None]:
    """Within the block the network multiplies by these masks in place of the calls' own.

    The attention still runs, so this is the slow and obvious form of what `fold_masks` does. The state of a recurrent
    attention passes by a constant mask, as it passes by a block that is not connected.

    Args:
        network: has attention at all calls named.
        masks: call -> (C,).
    """

    def see(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if name not in masks:
            return None
        recalibrated = inputs[0] * masks[name].to(inputs[0])[:, None, None]
        return (recalibrated, inputs[1]) if isinstance(output, tuple) else recalibrated

    with _watch(network, find_calls(network), see):
        yield


# -- folding ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def fold_masks(network: _Network, masks: Masks, *, probe: Tensor) -> _Network:
    """A copy with constant masks in place of some attention calls, folded into the weights.

    Args:
        network: in eval mode; it keeps its weights.
        masks: call -> (C,), for the calls to replace.
        probe: images (B, C, H, W) on which the copy is compared with `constant_masks`.

    Raises:
        EANError: for an unknown call, or one whose mask cannot be folded.
    """
    folded = copy.deepcopy(network)
    for call in _named(network, masks):
        call.fold(folded, masks[call.name], probe)
    with without_tf32():
        with constant_masks(network, masks):
            expected = network(probe)
        output = folded(probe)
    difference = (output - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    if not float(difference) <= TOLERANCE:
        raise EANError(
            f"the mean masks of {', '.join(masks)} cannot be folded exactly (the outputs would differ by "
            f"{float(difference):.1e} of their largest value): something else, such as an attention of the trunk's "
            "own, lies between the attention and the layer before it"
        )
    return folded


@contextmanager
def without_tf32() -> Iterator[None]:
    """Within the block, convolutions on a GPU are in full float32: TF32, cuDNN's default, rounds beyond `TOLERANCE`."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def drop_calls(network: _Network, names: Iterable[str]) -> _Network:
    """A copy without some attention calls, as if their masks were 1.

    Raises:
        EANError: for an unknown call.
    """
    dropped = copy.deepcopy(network)
    for call in _named(network, list(names)):
        call.drop(dropped)
    return dropped


def _named(network: nn.Module, names: Iterable[str]) -> list[AttentionCall]:
    calls = {call.name: call for call in find_calls(network)}
    if unknown := [name for name in names if name not in calls]:
        raise EANError(f"the network has no attention call {unknown[0]!r}: it has {', '.join(calls) or 'none'}")
    return [calls[name] for name in names]
