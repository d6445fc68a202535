"""Finding the layer beside a module whose weights can take up a scale of its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ean_core.networks.scale_layers import Layer


@torch.no_grad()
def neighbors_of(network: nn.Module, name: str, probe: Tensor) -> tuple[Layer | None, nn.Conv2d | None]:
    """The layer whose output a module takes unchanged, and the convolution that takes the module's output unchanged.

    They are found in a forward pass: a tensor is the same object, and no operation has written into it meanwhile.

    Args:
        network: in eval mode.
        name: of the module.
        probe: images (B, C, H, W).

    Returns:
        each None where there is no such layer; batch norms that activate (timm's) do not count.
    """
    module = network.get_submodule(name)
    seen: list[tuple[nn.Module, Tensor, int, Tensor, int]] = []
    kept: list[Tensor] = []  # an object's id stands for it only while it lives

    def before(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        kept.append(inputs[0])
        pending[layer] = (inputs[0], inputs[0]._version)

    def after(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((layer, *pending[layer], output, output._version))

    pending: dict[nn.Module, tuple[Tensor, int]] = {}
    layers = [layer for layer in network.modules() if isinstance(layer, Layer) or layer is module]
    handles = [layer.register_forward_pre_hook(before) for layer in layers]
    handles += [layer.register_forward_hook(after) for layer in layers]
    try:
        network(probe)
    finally:
        for handle in handles:
            handle.remove()
    _, taken, taken_version, given, given_version = next(entry for entry in seen if entry[0] is module)
    inside = set(module.modules())
    producers = [
        layer for layer, _, _, out, version in seen if out is taken and version == taken_version and is_linear(layer)
    ]
    consumers = [
        layer
        for layer, into, version, _, _ in seen
        if into is given and version == given_version and isinstance(layer, nn.Conv2d)
    ]
    producers, consumers = ([layer for layer in found if layer not in inside] for found in (producers, consumers))
    return (producers[-1] if producers else None), (consumers[0] if len(consumers) == 1 else None)


def is_linear(layer: nn.Module) -> bool:
    """Whether a convolution or batch norm applies no activation and has weights to scale; timm's norms may activate."""
    return (
        isinstance(layer, Layer)
        and layer.weight is not None
        and isinstance(getattr(layer, "act", None), nn.Identity | None)
    )
