"""Batch norm folded into the convolutions before it: the same function of the images, with fewer passes over them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ean_core.deploy.inference_stage import InferenceStage
from ean_core.networks import StagedNetwork
from ean_core.utils.errors import EANError

InferenceFn = Callable[[Tensor], Tensor]
"""A network in one of the modes of `modes.py`: images (B, C, H, W) in any memory layout -> logits, without gradients.

A function and no module, since some modes convert their input, replay a CUDA graph or run compiled code.
"""


def fold_batch_norm(network: StagedNetwork, *, prune: bool = True) -> StagedNetwork:
    """A copy whose convolutions have taken over the batch norms after them, and whose stages are `InferenceStage`s.

    The network itself is not changed, and shares no weights with the copy: `StagedNetwork.prune` copies too, while
    `Stage.prune`, which it calls on the copy's stages, works in place. From here on the copy is changed in place.

    In eval mode batch norm is a fixed scale and shift per channel: w' = w g / s and b' = (b - m) g / s + beta for
    running mean m, s = sqrt(variance + eps), weight g and shift beta. Scheme and attention stay; normalization
    inside an attention module stays too.

    Args:
        network: in eval mode.
        prune: drop the attention that is not connected; False keeps a supernet a supernet.

    Raises:
        EANError: in training mode, where batch norm depends on the batch and cannot be folded.
    """
    if any(module.training for module in network.modules()):
        raise EANError("batch norm can be folded only in eval mode: call network.eval() first")
    folded = network.prune() if prune else copy.deepcopy(network)
    for conv, norm in list(folded.conv_norm_pairs()):
        fold_pair(folded, conv, norm)
    folded.replace_stages(InferenceStage.from_stage)
    folded.eval()  # new modules start in training mode
    return folded


def fold_pair(network: nn.Module, conv: str, norm: str) -> None:
    """Replace, in place, a convolution by the fused one and its batch norm by the identity, or by its activation.

    Normalization of another kind (timm has networks with group norm) stays.
    """
    convolution, norm_layer = network.get_submodule(conv), network.get_submodule(norm)
    if isinstance(norm_layer, _BatchNorm):
        replace_submodule(network, conv, fuse_conv_bn_eval(convolution, norm_layer))
        replace_submodule(network, norm, getattr(norm_layer, "act", nn.Identity()))  # timm's norms may activate too


def replace_submodule(network: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` in the place of the module called `name`."""
    owner, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(owner), leaf, new)


def in_channels_last(network: nn.Module) -> InferenceFn:
    """Convert a network's weights, in place, to channels_last, and return a function that converts the images too.

    The function computes with that network: what is changed in it later is changed in both.
    """
    network = network.to(memory_format=torch.channels_last)
    return lambda images: network(images.contiguous(memory_format=torch.channels_last))
