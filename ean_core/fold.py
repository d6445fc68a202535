"""Faster forms of one network that compute the same numbers: folded batch norm, memory layout, compiler, graph.

A relative time increment (Eq. 9) means something only between networks in the same form, and a small increment over
a slow form is no achievement; `tools/benchmark.py` therefore measures several forms, each against its own Org.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ean_core.errors import EANError, unknown_name
from ean_core.networks import ResNet
from ean_core.timing import Comparison, compare

Form = Callable[[Tensor], Tensor]

_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))


class SettingUnavailable(EANError):
    """This machine cannot run a setting; the message says why."""


# -- folding ----------------------------------------------------------------------------------------------------------


def fold_batch_norm(network: ResNet) -> ResNet:
    """A pruned copy whose convolutions have taken over the batch norms that follow them.

    In eval mode batch norm is a fixed scale and shift per channel: w' = w g / s and b' = (b - m) g / s + beta for
    running mean m, s = sqrt(variance + eps), weight g and shift beta. Scheme and attention stay; normalisation
    inside an attention module stays too.

    Args:
        network: in eval mode.

    Raises:
        EANError: in training mode, where batch norm depends on the batch and cannot be folded.
    """
    if any(module.training for module in network.modules()):
        raise EANError("batch norm can be folded only in eval mode: call network.eval() first")
    folded = network.prune()
    blocks = [block for stage in folded.stages for block in stage.blocks]
    for owner in (folded, *blocks):
        for conv, norm in _PAIRS:
            fold_pair(owner, conv, norm)
        if getattr(owner, "downsample", None) is not None:
            fold_pair(owner.downsample, "0", "1")
    return folded


def fold_pair(owner: nn.Module, conv: str, norm: str) -> None:
    """Replace `owner.conv` by the fused convolution and `owner.norm` by the identity, where `owner` has the two."""
    if isinstance(getattr(owner, norm, None), nn.BatchNorm2d):
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
        setattr(owner, norm, nn.Identity())


# -- settings: each takes a network and an example batch (B, C, H, W), and leaves both as they were -------------------


def eager(network: ResNet, batch: Tensor) -> Form:
    """The pruned network as it was trained: float32, contiguous, the way published code is run."""
    return network.prune().eval()


def channels_last(network: ResNet, batch: Tensor) -> Form:
    """Weights and images in the layout that convolution kernels work in; laying out the images is part of the time."""
    return in_channels_last(network.prune().eval())


def folded(network: ResNet, batch: Tensor) -> Form:
    """channels_last, and batch norm folded into the convolutions."""
    return in_channels_last(fold_batch_norm(network.prune().eval()))


def bf16(network: ResNet, batch: Tensor) -> Form:
    """folded, with weights and activations in bfloat16; images come in and logits go out in float32."""
    if batch.device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise SettingUnavailable(f"{torch.cuda.get_device_name(batch.device)} has no bfloat16")
    low = in_channels_last(fold_batch_norm(network.prune().eval()).bfloat16())
    return lambda images: low(images.bfloat16()).float()


def compiled(network: ResNet, batch: Tensor) -> Form:
    """folded, through torch.compile."""
    return compile_now(folded(network, batch), batch, mode="default")


def max_autotune(network: ResNet, batch: Tensor) -> Form:
    """folded, through torch.compile with kernels tuned on this device and CUDA graphs; minutes per network."""
    require_cuda("max_autotune", batch)
    return compile_now(folded(network, batch), batch, mode="max-autotune")


def cuda_graph(network: ResNet, batch: Tensor) -> Form:
    """folded, captured in a CUDA graph, so that the processor launches one graph and not hundreds of kernels.

    The result takes images of the batch's shape only, and its output is overwritten by the next call.
    """
    require_cuda("cuda_graph", batch)
    form = folded(network, batch)
    with torch.inference_mode(), torch.cuda.device(batch.device):
        images = batch.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # capture needs the libraries' workspaces to be there already
            for _ in range(3):
                form(images)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = form(images)

    def replay(new_images: Tensor) -> Tensor:
        images.copy_(new_images)
        graph.replay()
        return logits

    return replay


@dataclass(frozen=True)
class Setting:
    """A named form.

    Attributes:
        build: (network, example batch) -> callable from images to logits; raises `SettingUnavailable`.
        tolerance: largest difference from eager's logits, relative to their largest magnitude.
    """

    build: Callable[[ResNet, Tensor], Form]
    tolerance: float


SETTINGS: dict[str, Setting] = {
    "eager": Setting(eager, 0.0),
    "channels_last": Setting(channels_last, 1e-4),
    "folded": Setting(folded, 1e-4),
    "bf16": Setting(bf16, 0.1),
    "compiled": Setting(compiled, 1e-4),
    "max_autotune": Setting(max_autotune, 1e-3),
    "cuda_graph": Setting(cuda_graph, 1e-4),
}


def compare_settings(
    networks: Mapping[str, ResNet],
    batch: Tensor,
    settings: Sequence[str],
    *,
    reference: str = "Org",
    rounds: int = 50,
    seed: int = 0,
    after_round: Callable[[str], None] | None = None,
) -> tuple[dict[str, dict[str, Comparison]], dict[str, str]]:
    """Time networks in several settings, each against the reference in the same setting.

    Args:
        networks: name -> network, on the batch's device.
        batch: images (B, C, H, W).
        settings: keys of `SETTINGS`.
        reference: the name among the networks whose times are t_without in Eq. 9.
        rounds: as for `ean_core.timing.measure`.
        seed: of the bootstrap.
        after_round: called with the setting's name between rounds.

    Returns:
        setting -> network -> times and increment; and, for what this machine cannot run, setting -> why.

    Raises:
        EANError: for an unknown setting, before anything is timed.
    """
    for setting in settings:
        if setting not in SETTINGS:
            raise unknown_name("setting", setting, list(SETTINGS))
    results, skipped = {}, {}
    for setting in settings:
        try:
            forms = {name: SETTINGS[setting].build(network, batch) for name, network in networks.items()}
        except SettingUnavailable as reason:
            skipped[setting] = str(reason)
            continue
        report = after_round and partial(after_round, setting)
        results[setting] = compare(forms, batch, reference=reference, rounds=rounds, seed=seed, after_round=report)
    return results, skipped


def in_channels_last(network: nn.Module) -> Form:
    """The network, in place, in channels-last layout, taking images of any layout."""
    network = network.to(memory_format=torch.channels_last)
    return lambda images: network(images.contiguous(memory_format=torch.channels_last))


def compile_now(form: Form, batch: Tensor, *, mode: str) -> Form:
    """`torch.compile` for this batch shape, done before returning, so that a failure shows here and not in a timing.

    Raises:
        SettingUnavailable: if the compiler does not work on this machine.
    """
    # The compiler keeps its results per code object and gives up, silently eager, after eight of them. All forms
    # share one, so each gets a copy of its own; fullgraph makes giving up an error.
    own = types.FunctionType(
        form.__code__.replace(), form.__globals__, form.__name__, form.__defaults__, form.__closure__
    )
    try:
        result = torch.compile(own, mode=mode, fullgraph=True, dynamic=False)
        with torch.inference_mode():
            result(batch)
    except (RuntimeError, OSError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SettingUnavailable(f"torch.compile does not work here ({first})") from error
    return result


def require_cuda(setting: str, batch: Tensor) -> None:
    """Refuse a setting that only CUDA has."""
    if batch.device.type != "cuda":
        raise SettingUnavailable(f"{setting} needs a CUDA device, and this runs on {batch.device.type}")
