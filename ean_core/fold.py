"""Faster forms of one network that compute the same numbers: folded batch norm, memory layout, compiler, graph.

A relative time increment (Eq. 9) means something only between networks in the same form, and a small increment over
a slow form is no achievement; `tools/benchmark.py` therefore measures several forms, each against its own Org.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ean_core.attention import Attention, State
from ean_core.errors import EANError, unknown_name
from ean_core.networks import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.timing import Comparison, compare

Form = Callable[[Tensor], Tensor]


class SettingUnavailable(EANError):
    """This machine cannot run a setting; the message says why."""


# -- folding ----------------------------------------------------------------------------------------------------------


def fold_batch_norm(network: StagedNetwork, *, prune: bool = True) -> StagedNetwork:
    """A copy whose convolutions have taken over the batch norms that follow them; its stages work in place.

    In eval mode batch norm is a fixed scale and shift per channel: w' = w g / s and b' = (b - m) g / s + beta for
    running mean m, s = sqrt(variance + eps), weight g and shift beta. Scheme and attention stay; normalisation
    inside an attention module stays too.

    Args:
        network: in eval mode.
        prune: drop the attention that is not connected; False keeps a supernet one.

    Raises:
        EANError: in training mode, where batch norm depends on the batch and cannot be folded.
    """
    if any(module.training for module in network.modules()):
        raise EANError("batch norm can be folded only in eval mode: call network.eval() first")
    folded = network.prune() if prune else copy.deepcopy(network)
    for stage in folded.stages:
        stage.in_place = True
    for conv, norm in list(folded.conv_norm_pairs()):
        fold_pair(folded, conv, norm)
    return folded


def fold_pair(network: nn.Module, conv: str, norm: str) -> None:
    """Replace a convolution by the fused one and the batch norm after it by the identity, or by its activation.

    Normalisation of another kind (timm has networks with group norm) stays.
    """
    convolution, norm_layer = network.get_submodule(conv), network.get_submodule(norm)
    if isinstance(norm_layer, _BatchNorm):
        replace_submodule(network, conv, fuse_conv_bn_eval(convolution, norm_layer))
        replace_submodule(network, norm, getattr(norm_layer, "act", nn.Identity()))  # timm's norms may activate too


def replace_submodule(network: nn.Module, name: str, new: nn.Module) -> None:
    """Put a module in another's place."""
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, new)


# -- settings: each takes a network and an example batch (B, C, H, W), and leaves both as they were -------------------


def eager(network: StagedNetwork, batch: Tensor) -> Form:
    """The pruned network as it was trained: float32, contiguous, the way published code is run."""
    return network.prune().eval()


def channels_last(network: StagedNetwork, batch: Tensor) -> Form:
    """Weights and images in the layout that convolution kernels work in; laying out the images is part of the time."""
    return in_channels_last(network.prune().eval())


def folded(network: StagedNetwork, batch: Tensor) -> Form:
    """channels_last, and batch norm folded into the convolutions."""
    return in_channels_last(fold_batch_norm(network.prune().eval()))


def bf16(network: StagedNetwork, batch: Tensor) -> Form:
    """folded, with weights and activations in bfloat16; images come in and logits go out in float32."""
    check_bf16(batch)
    low = in_channels_last(fold_batch_norm(network.prune().eval()).bfloat16())
    return lambda images: low(images.bfloat16()).float()


def compiled(network: StagedNetwork, batch: Tensor) -> Form:
    """folded, its blocks through torch.compile, on CUDA in a graph; blocks of one shape share their code."""
    return in_graph(compile_blocks(fold_batch_norm(network.prune().eval()), batch), batch)


def compiled_bf16(network: StagedNetwork, batch: Tensor) -> Form:
    """bf16, its blocks through torch.compile, which keeps float32 between the operations that it joins."""
    check_bf16(batch)
    low = compile_blocks(fold_batch_norm(network.prune().eval()).bfloat16(), batch.bfloat16())
    return in_graph(lambda images: low(images.bfloat16()).float(), batch)


def max_autotune(network: StagedNetwork, batch: Tensor) -> Form:
    """folded, through torch.compile with kernels tuned on this device and CUDA graphs; minutes per network."""
    require_cuda("max_autotune", batch)
    return compile_now(folded(network, batch), batch, mode="max-autotune")


def cuda_graph(network: StagedNetwork, batch: Tensor) -> Form:
    """folded, captured in a CUDA graph, so that the processor launches one graph and not hundreds of kernels."""
    require_cuda("cuda_graph", batch)
    return captured(folded(network, batch), batch)


def fused(network: StagedNetwork, batch: Tensor) -> Form:
    """cuda_graph, with attention, sum and ReLU in the kernels of `ean_core.kernels`."""
    return captured(with_kernels(fold_batch_norm(network.prune().eval()), batch), batch)


def fused_bf16(network: StagedNetwork, batch: Tensor) -> Form:
    """fused, in bfloat16."""
    check_bf16(batch)
    low = with_kernels(fold_batch_norm(network.prune().eval()).bfloat16(), batch)
    return captured(lambda images: low(images.bfloat16()).float(), batch)


def with_kernels(network: StagedNetwork, batch: Tensor) -> Form:
    """A folded network, in place, in channels-last layout, with this project's kernels.

    Raises:
        SettingUnavailable: without CUDA or Triton.
    """
    require_cuda("fused", batch)
    from ean_core.kernels import available, use_kernels  # Triton comes with PyTorch on some platforms only

    if not available(batch.device):
        raise SettingUnavailable("fused needs Triton: install it, or use cuda_graph")
    use_kernels(network)
    return in_channels_last(network)


def in_graph(form: Form, batch: Tensor) -> Form:
    """A form in a CUDA graph where there is CUDA: else the processor is busy with launching a block after another."""
    return captured(form, batch) if batch.device.type == "cuda" else form


def captured(form: Form, batch: Tensor) -> Form:
    """A form in a CUDA graph.

    The result takes images of the batch's shape only (`EANError` for others), and its output is overwritten by the
    next call.
    """
    with torch.inference_mode(), torch.cuda.device(batch.device):
        images = batch.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # capture needs the libraries' workspaces, and kernels, to be there already
            for _ in range(3):
                form(images)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = form(images)

    @torch.inference_mode()  # outside of it, what was made inside cannot be written to
    def replay(new_images: Tensor) -> Tensor:
        if new_images.shape != images.shape:  # a single image would be copied to all places
            raise EANError(f"the graph was captured for {tuple(images.shape)}, got {tuple(new_images.shape)}")
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

    build: Callable[[StagedNetwork, Tensor], Form]
    tolerance: float


SETTINGS: dict[str, Setting] = {
    "eager": Setting(eager, 0.0),
    "channels_last": Setting(channels_last, 1e-4),
    "folded": Setting(folded, 1e-4),
    "bf16": Setting(bf16, 0.1),
    "compiled": Setting(compiled, 1e-4),
    "compiled_bf16": Setting(compiled_bf16, 0.1),
    "max_autotune": Setting(max_autotune, 1e-3),
    "cuda_graph": Setting(cuda_graph, 1e-4),
    "fused": Setting(fused, 1e-4),
    "fused_bf16": Setting(fused_bf16, 0.1),
}


def allowed_difference(setting: str, device: torch.device) -> float:
    """A setting's tolerance on a device.

    Convolutions of float32 on a GPU multiply in TF32 unless that is switched off, with three bits more than bfloat16,
    and each form of a network rounds its own way: an eighth of what bfloat16 is allowed.
    """
    tolerance = SETTINGS[setting].tolerance
    rounds = device.type == "cuda" and torch.backends.cudnn.allow_tf32 and setting != "eager"
    return max(tolerance, SETTINGS["bf16"].tolerance / 8) if rounds else tolerance


def compare_settings(
    networks: Mapping[str, StagedNetwork],
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


def compile_steps(network: StagedNetwork) -> None:
    """Let the stages run their blocks through torch.compile, in place.

    A block is compiled once connected and once not, so that every scheme runs on what is there already; blocks of one
    shape share their code. The compiler works when a block is first run.
    """
    for stage in network.stages:
        stage.step = compiled_step(stage)


def compiled_step(stage: Stage) -> Callable[..., tuple[Tensor, State]]:
    """The stage's `step` in two compiled versions, connected and not: neither meets more cases than are kept."""
    connected, alone = (
        torch.compile(types.MethodType(own_copy(type(stage).step), stage), dynamic=False) for _ in range(2)
    )

    def step(block: nn.Module, attention: Attention | None, x: Tensor, state: State) -> tuple[Tensor, State]:
        if attention is None:
            return alone(block, None, x, None)[0], state
        return connected(block, attention, x, state)

    return step


def compile_now(form: Form, batch: Tensor, *, mode: str) -> Form:
    """`torch.compile` for this batch shape, done before returning, so that a failure shows here and not in a timing.

    Raises:
        SettingUnavailable: if the compiler does not work on this machine.
    """
    result = torch.compile(own_copy(form), mode=mode, fullgraph=True, dynamic=False)
    run_once(result, batch)
    return result


def compile_blocks(network: StagedNetwork, batch: Tensor) -> Form:
    """A folded network, in place, with compiled blocks in channels-last layout; compiled before returning.

    Raises:
        SettingUnavailable: if the compiler does not work on this machine.
    """
    form = in_channels_last(network)
    compile_steps(network)
    run_once(form, batch)
    return form


def run_once(form: Form, batch: Tensor) -> None:
    """Let the compiler do its work now.

    Raises:
        SettingUnavailable: if it fails.
    """
    try:
        with torch.inference_mode():
            form(batch)
    except (RuntimeError, OSError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SettingUnavailable(f"torch.compile does not work here ({first})") from error


def own_copy(function: types.FunctionType) -> types.FunctionType:
    """The function with a code object of its own.

    The compiler keeps its results per code object and gives up, silently eager or with an error, after eight of them.
    """
    return types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def require_cuda(setting: str, batch: Tensor) -> None:
    """Refuse a setting that only CUDA has."""
    if batch.device.type != "cuda":
        raise SettingUnavailable(f"{setting} needs a CUDA device, and this runs on {batch.device.type}")


def check_bf16(batch: Tensor) -> None:
    """Refuse bfloat16 on a GPU that has none."""
    if batch.device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise SettingUnavailable(f"{torch.cuda.get_device_name(batch.device)} has no bfloat16")
