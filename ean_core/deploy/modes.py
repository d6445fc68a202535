"""Faster forms of one network that compute the same numbers: folded batch norm, memory layout, compiler, graph.

A relative time increment (Eq. 9) means something only between networks in the same form, and a small increment over
a slow form is no achievement; `tools/benchmark.py` therefore measures several forms, each against its own Org.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ean_core.benchmark.timing import Comparison, compare
from ean_core.deploy.compile import SettingUnavailable, captured, compile_network, compile_now
from ean_core.deploy.fold import Form, fold_batch_norm, in_channels_last
from ean_core.networks import StagedNetwork
from ean_core.utils.devices import has_bfloat16
from ean_core.utils.errors import unknown_name

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
    """folded, through torch.compile: see `compile_network`."""
    return compile_network(fold_batch_norm(network.prune().eval()), batch)


def compiled_bf16(network: StagedNetwork, batch: Tensor) -> Form:
    """bf16, through torch.compile, which keeps float32 between the operations that it joins."""
    check_bf16(batch)
    low = compile_network(fold_batch_norm(network.prune().eval()).bfloat16(), batch.bfloat16())
    return lambda images: low(images.bfloat16()).float()


def max_autotune(network: StagedNetwork, batch: Tensor) -> Form:
    """folded, through torch.compile with kernels tuned on this device and CUDA graphs; minutes per network."""
    require_cuda("max_autotune", batch)
    return compile_now(folded(network, batch), batch, mode="max-autotune")


def cuda_graph(network: StagedNetwork, batch: Tensor) -> Form:
    """folded, captured in a CUDA graph, so that the processor launches one graph and not hundreds of kernels."""
    require_cuda("cuda_graph", batch)
    return captured(folded(network, batch), batch)


def fused(network: StagedNetwork, batch: Tensor) -> Form:
    """cuda_graph, with attention, sums, biases and ReLU in the kernels of `ean_core.deploy.kernels`."""
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
    from ean_core.deploy.kernels import available, use_kernels  # Triton comes with PyTorch on some platforms only

    if not available(batch.device):
        raise SettingUnavailable("fused needs Triton: install it, or use cuda_graph")
    use_kernels(network)
    return in_channels_last(network)


def require_cuda(setting: str, batch: Tensor) -> None:
    """Refuse a setting that only CUDA has."""
    if batch.device.type != "cuda":
        raise SettingUnavailable(f"{setting} needs a CUDA device, and this runs on {batch.device.type}")


def check_bf16(batch: Tensor) -> None:
    """Refuse bfloat16 on a GPU that has none."""
    if batch.device.type == "cuda" and not has_bfloat16(batch.device):
        raise SettingUnavailable(f"{torch.cuda.get_device_name(batch.device)} has no bfloat16")


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


def check_known(setting: str) -> None:
    """Refuse a name that is no setting's, with the nearest that is."""
    if setting not in SETTINGS:
        raise unknown_name("setting", setting, list(SETTINGS))


def fast_form(network: StagedNetwork, batch: Tensor, setting: str = "compiled") -> Form:
    """A network for predicting, in a faster form that gives the same logits within the setting's tolerance.

    Args:
        network: stays as it is, and later changes to its weights do not reach the form.
        batch: images (B, C, H, W), on the network's device, of the shape that the form is to be fast for. Another one
            is compiled anew when it first comes, and refused by a CUDA graph, which "compiled" on a GPU is.
        setting: a key of `SETTINGS`; "folded" needs no compiler and takes any shape.

    Returns:
        images -> logits, without gradients.

    Raises:
        EANError: for an unknown setting; `SettingUnavailable` where the machine cannot run it.
    """
    check_known(setting)
    form = SETTINGS[setting].build(network, batch)
    return torch.inference_mode()(lambda images: form(images).clone())  # a graph's next call writes over its output


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
        rounds: as for `ean_core.benchmark.timing.measure`.
        seed: of the bootstrap.
        after_round: called with the setting's name between rounds.

    Returns:
        setting -> network -> times and increment; and, for what this machine cannot run, setting -> why.

    Raises:
        EANError: for an unknown setting, before anything is timed.
    """
    for setting in settings:
        check_known(setting)
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
