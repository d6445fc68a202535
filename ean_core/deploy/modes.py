"""Inference modes: ways to run one network that compute the same numbers, from eager to compiled and captured.

A relative time increment (Eq. 9) means something only between networks in the same mode, and a small increment in a
slow mode is no achievement; `tools/benchmark.py` therefore measures several modes, each against its own Org.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ean_core.deploy.compile import ModeUnavailable, captured, compile_network, compile_now
from ean_core.deploy.fold import InferenceFn, fold_batch_norm, in_channels_last
from ean_core.networks import StagedNetwork
from ean_core.utils.devices import has_bfloat16
from ean_core.utils.errors import unknown_name

# -- modes: each takes a network and an example batch (B, C, H, W), and leaves both as they were -----------------------


def eager(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """The pruned network as it was trained: float32, contiguous, the way published code is run."""
    return network.prune().eval()


def channels_last(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """Weights and images in the layout that convolution kernels work in; converting the images is part of the time."""
    return in_channels_last(network.prune().eval())


def folded(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """channels_last, with batch norm folded into the convolutions and attention fused into the blocks."""
    return in_channels_last(fold_batch_norm(network.prune().eval()))


def bf16(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """folded, with weights and activations in bfloat16; images come in and logits go out in float32."""
    check_bf16(batch)
    return with_bf16_inside(in_channels_last(fold_batch_norm(network.prune().eval()).bfloat16()))


def compiled(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """folded, through torch.compile: see `compile_network`."""
    return compile_network(fold_batch_norm(network.prune().eval()), batch)


def compiled_bf16(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """bf16, through torch.compile, which keeps float32 between the operations that it fuses."""
    check_bf16(batch)
    return with_bf16_inside(compile_network(fold_batch_norm(network.prune().eval()).bfloat16(), batch.bfloat16()))


def max_autotune(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """folded, through torch.compile with kernels tuned on this device and CUDA graphs; minutes per network."""
    require_cuda("max_autotune", batch)
    return compile_now(folded(network, batch), batch, mode="max-autotune")


def cuda_graph(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """folded, captured in a CUDA graph, so that the processor launches one graph and not hundreds of kernels."""
    require_cuda("cuda_graph", batch)
    return captured(folded(network, batch), batch)


def fused(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """cuda_graph, with attention, additions, biases and ReLU in the kernels of `ean_core.deploy.kernels`."""
    require_kernels("fused", batch)
    return captured(in_channels_last(with_kernels(network)), batch)


def fused_bf16(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """fused, with weights and activations in bfloat16."""
    check_bf16(batch)
    require_kernels("fused_bf16", batch)
    return captured(with_bf16_inside(in_channels_last(with_kernels(network).bfloat16())), batch)


def with_bf16_inside(low: InferenceFn) -> InferenceFn:
    """Give a network in bfloat16 images in float32, and get its logits in float32."""
    return lambda images: low(images.bfloat16()).float()


def with_kernels(network: StagedNetwork) -> StagedNetwork:
    """A folded copy with this project's kernels."""
    from ean_core.deploy.kernels import use_kernels

    network = fold_batch_norm(network.prune().eval())
    use_kernels(network)
    return network


def require_kernels(mode: str, batch: Tensor) -> None:
    """Refuse a mode that needs CUDA and Triton where they are unavailable."""
    require_cuda(mode, batch)
    from ean_core.deploy.kernels import available

    if not available(batch.device):
        raise ModeUnavailable(f"{mode} needs Triton: install it, or use cuda_graph")


def require_cuda(mode: str, batch: Tensor) -> None:
    """Refuse a mode that only CUDA has."""
    if batch.device.type != "cuda":
        raise ModeUnavailable(f"{mode} needs a CUDA device, and this runs on {batch.device.type}")


def check_bf16(batch: Tensor) -> None:
    """Refuse bfloat16 on a GPU that has none."""
    if batch.device.type == "cuda" and not has_bfloat16(batch.device):
        raise ModeUnavailable(f"{torch.cuda.get_device_name(batch.device)} has no bfloat16")


@dataclass(frozen=True)
class Mode:
    """A way to run a network.

    Attributes:
        build: (network, example batch) -> callable from images to logits; raises `ModeUnavailable`.
        tolerance: largest difference from eager's logits, relative to their largest magnitude.
    """

    build: Callable[[StagedNetwork, Tensor], InferenceFn]
    tolerance: float


MODES: dict[str, Mode] = {
    "eager": Mode(eager, 0.0),
    "channels_last": Mode(channels_last, 1e-4),
    "folded": Mode(folded, 1e-4),
    "bf16": Mode(bf16, 0.1),
    "compiled": Mode(compiled, 1e-4),
    "compiled_bf16": Mode(compiled_bf16, 0.1),
    "max_autotune": Mode(max_autotune, 1e-3),
    "cuda_graph": Mode(cuda_graph, 1e-4),
    "fused": Mode(fused, 1e-4),
    "fused_bf16": Mode(fused_bf16, 0.1),
}


def check_mode(mode: str) -> None:
    """Refuse a name that no mode has, with the nearest that one has."""
    if mode not in MODES:
        raise unknown_name("mode", mode, list(MODES))


def optimize_for_inference(network: StagedNetwork, batch: Tensor, *, mode: str = "compiled") -> InferenceFn:
    """Make a network ready for predicting: the same logits within the mode's tolerance, faster.

    Args:
        network: it is not changed, and later changes to its weights do not reach the result.
        batch: images (B, C, H, W), on the network's device, of the shape to be fast for. Another shape is compiled when
            it first comes, and refused by a CUDA graph, which "compiled" on a GPU is.
        mode: a key of `MODES`; "folded" needs no compiler and takes any shape.

    Returns:
        images -> logits, without gradients.

    Raises:
        EANError: for an unknown mode; `ModeUnavailable` where the machine cannot run it.
    """
    check_mode(mode)
    optimized = MODES[mode].build(network, batch)
    return torch.inference_mode()(lambda images: optimized(images).clone())  # a graph's next call overwrites its output


def allowed_difference(mode: str, device: torch.device) -> float:
    """A mode's tolerance on a device.

    Convolutions of float32 on a GPU multiply in TF32 unless that is switched off, with three bits more than bfloat16,
    and each mode rounds in its own way: an eighth of what bfloat16 is allowed.
    """
    tolerance = MODES[mode].tolerance
    rounds = device.type == "cuda" and torch.backends.cudnn.allow_tf32 and mode != "eager"
    return max(tolerance, MODES["bf16"].tolerance / 8) if rounds else tolerance
