"""Triton kernels that fuse what a compiler leaves apart, for networks that are done training, on CUDA GPUs.

`reference.py` says in PyTorch what each one computes, and is what they are tested against; `triton_kernels.py` holds
the kernels, `tails.py` the block tails that call them. `use_kernels` puts them into a folded network.
"""

from __future__ import annotations

import torch

from ean_core.deploy.inference_stage import InferenceStage
from ean_core.networks import StagedNetwork
from ean_core.networks.blocks import BasicBlock, Bottleneck
from ean_core.networks.resnet import ResNet
from ean_core.utils.errors import EANError

ACTIVATED_CONVOLUTIONS = {ResNet: 1, BasicBlock: 1, Bottleneck: 2}
"""Exact type -> how many of its first convolutions an activation follows."""


def use_kernels(network: StagedNetwork) -> None:
    """Run SE, SGE and DIA, the additions, and the biases and ReLUs inside the blocks in the kernels; in place.

    From then on the network has no gradients, and refuses to be called where they are recorded.

    Args:
        network: folded (`ean_core.deploy.fold.fold_batch_norm`), in float32; it may be cast to bfloat16 later. When
            it is called, weights and images must be channels_last.

    Raises:
        EANError: if it is not folded: what the kernels add up is what the convolutions give.
        ImportError: if Triton is not installed.
    """
    if not all(isinstance(stage, InferenceStage) for stage in network.stages):
        raise EANError("the kernels are for folded networks: call ean_core.deploy.fold.fold_batch_norm first")
    from ean_core.deploy.kernels.tails import move_biases  # here: Triton comes with PyTorch on some platforms only

    for module in network.modules():
        if type(module) in ACTIVATED_CONVOLUTIONS:
            move_biases(module, ACTIVATED_CONVOLUTIONS[type(module)])
    network.replace_stages(lambda stage: InferenceStage.from_stage(stage, backend="triton"))
    network.eval()  # new modules start in training mode


def available(device: torch.device) -> bool:
    """Whether the kernels can run on a device."""
    if device.type != "cuda":
        return False
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


__all__ = ["available", "use_kernels"]
