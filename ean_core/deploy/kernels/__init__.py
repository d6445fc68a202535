"""Kernels that join what a compiler leaves apart, for networks that are done training, on CUDA GPUs.

`plain.py` says in PyTorch what each one computes, and is what they are tested against; `triton_kernels.py` is the
kernels, and `blocks.py` the parts of blocks that call them. `use_kernels` puts them into a folded network; everything
else stays as it is.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ean_core.attention import DenseImplicitAttention, SpatialGroupEnhance, SqueezeExcitation, State
from ean_core.attention.dia import started
from ean_core.networks.blocks import BasicBlock, Bottleneck
from ean_core.networks.resnet import ResNet
from ean_core.utils.errors import EANError

if TYPE_CHECKING:
    from ean_core.networks import StagedNetwork


def use_kernels(network: StagedNetwork) -> None:
    """Let SE, SGE and DIA, the blocks' sums, and the biases and ReLUs inside them run through the kernels; in place.

    From then on the network has no gradients, and refuses to be called where they are recorded.

    Args:
        network: folded (`ean_core.deploy.fold.fold_batch_norm`), channels_last.

    Raises:
        EANError: if it is not folded: what the kernels add up is what the convolutions give.
        ImportError: if Triton is not installed.
    """
    if any(stage.joined is None for stage in network.stages):
        raise EANError("the kernels are for folded networks: call ean_core.deploy.fold.fold_batch_norm first")
    # Here: Triton is there only where PyTorch brings it.
    from ean_core.deploy.kernels import triton_kernels
    from ean_core.deploy.kernels.blocks import move_biases, sums, with_kernels

    for module in network.modules():
        if type(module) in CONVOLUTIONS:
            move_biases(module, CONVOLUTIONS[type(module)])
    for stage in network.stages:
        stage.add = triton_kernels.add_relu
        stage.sums = sums(stage.blocks)
        stage.joined = nn.ModuleList(with_kernels(form) for form in stage.joined)
        for module in stage.modules():
            # A user's own subclass may compute something else, and keeps its `merge`.
            if type(module) in MERGES:
                module.merge = partial(MERGES[type(module)], module)
    network.eval()  # what was put in is new, and so in training mode


def merge_squeeze(
    module: SqueezeExcitation, residual: Tensor, shortcut: Tensor, state: State = None
) -> tuple[Tensor, State]:
    """`SqueezeExcitation.merge` in three kernels, of which the second is as small as its layers."""
    from ean_core.deploy.kernels import triton_kernels

    pooled, squeeze, excite = triton_kernels.channel_means(residual), module.squeeze, module.excite
    if triton_kernels.excites(squeeze.weight, excite.weight):
        mask = triton_kernels.excite(pooled, squeeze.weight, squeeze.bias, excite.weight, excite.bias)
    else:
        mask, _ = module.mask_of(pooled.to(residual.dtype), None)
    return triton_kernels.scale_add_relu(residual, mask, shortcut), state


def merge_recurrent(
    module: DenseImplicitAttention, residual: Tensor, shortcut: Tensor, state: State = None
) -> tuple[Tensor, State]:
    """`DenseImplicitAttention.merge`, with the gates' arithmetic in one kernel."""
    from ean_core.deploy.kernels import triton_kernels

    pooled = triton_kernels.channel_means(residual).to(residual.dtype)  # (B, C)
    hidden, cell = started(state, pooled, pooled.shape[1])
    hidden, cell = triton_kernels.cell(module.from_input(pooled), cell, module.from_hidden(hidden))
    return triton_kernels.scale_add_relu(residual, hidden, shortcut), (hidden, cell)


def merge_groups(
    module: SpatialGroupEnhance, residual: Tensor, shortcut: Tensor, state: State = None
) -> tuple[Tensor, State]:
    """`SpatialGroupEnhance.merge` in one kernel."""
    from ean_core.deploy.kernels import triton_kernels

    return triton_kernels.group_enhance(residual, shortcut, module.weight, module.bias, module.eps), state


CONVOLUTIONS = {ResNet: 1, BasicBlock: 1, Bottleneck: 2}  # those that an activation follows

MERGES = {
    SqueezeExcitation: merge_squeeze,
    DenseImplicitAttention: merge_recurrent,
    SpatialGroupEnhance: merge_groups,
}


def available(device: torch.device) -> bool:
    """Whether the kernels can run there."""
    if device.type != "cuda":
        return False
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


__all__ = ["available", "use_kernels"]
