"""The named architectures: layouts of our residual networks, and what is known of any network before it is built."""

from __future__ import annotations

from typing import Any

from ean_core.networks import timm_backbone
from ean_core.networks.blocks import BasicBlock, Bottleneck
from ean_core.utils.errors import unknown_name


def _cifar(block: type, depth: int) -> dict[str, Any]:
    """Three stages of n blocks: depth = 6n + 2 with basic blocks, 9n + 2 with bottlenecks."""
    per_stage, rest = divmod(depth - 2, 6 if block is BasicBlock else 9)
    assert rest == 0, depth
    return {
        "block": block,
        "depths": (per_stage,) * 3,
        "widths": (16, 32, 64),
        "stem": "cifar",
        "strides": (1, 2, 2),
        "dilations": (1, 1, 1),
    }


def _imagenet(block: type, depths: tuple[int, ...], *, conv_bias: bool) -> dict[str, Any]:
    return {"block": block, "depths": depths, "stem": "imagenet", "conv_bias": conv_bias}


_IMAGENET: dict[str, tuple[type, tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    # CIFAR: 20, 56 and 110 have basic blocks (6n + 2), 29, 83 and 164 bottlenecks (9n + 2), as in the literature.
    **{f"resnet{depth}": _cifar(BasicBlock, depth) for depth in (20, 56, 110)},
    **{f"resnet{depth}": _cifar(Bottleneck, depth) for depth in (29, 83, 164)},
    # ImageNet: the paper's networks have a bias on every convolution (Table 1 counts it); public weights have none.
    **{name: _imagenet(*layout, conv_bias=True) for name, layout in _IMAGENET.items()},
    **{f"{name}_nobias": _imagenet(*layout, conv_bias=False) for name, layout in _IMAGENET.items()},
}


def is_timm(arch: str) -> bool:
    """Whether an architecture's name begins with `timm:`."""
    return arch.startswith(timm_backbone.PREFIX)


def timm_name(arch: str) -> str | None:
    """timm's name of an architecture; None for one of ours."""
    return arch.removeprefix(timm_backbone.PREFIX) if is_timm(arch) else None


def stages_blocks(arch: str) -> tuple[int, ...]:
    """Blocks per stage of a named architecture, without building it.

    Raises:
        EANError: for an unknown name, or a network of timm's that cannot be adapted.
    """
    if (name := timm_name(arch)) is not None:
        return tuple(len(blocks) for blocks in timm_backbone.timm_layout(name).stages)
    return tuple(_layout(arch)["depths"])


def stage_strides(arch: str) -> tuple[int, ...]:
    """Pixels of the image per position of each stage's output, without strides or dilations given to `create_model`.

    (4, 8, 16, 32) for resnet50, (2, 4, 8, 16, 16, 32, 32) for timm:tf_efficientnet_lite0.

    Raises:
        EANError: as `stages_blocks`.
    """
    if (name := timm_name(arch)) is not None:
        return timm_backbone.timm_strides(name)
    first = 1 if architecture_family(arch) == "cifar" else 4
    return tuple(first * 2**stage for stage in range(len(stages_blocks(arch))))


def architecture_family(arch: str) -> str:
    """ "cifar" for networks of small images, "mobile" or "imagenet"; defaults of `create_model` depend on it.

    Raises:
        EANError: as `stages_blocks`.
    """
    if (name := timm_name(arch)) is not None:
        return timm_backbone.timm_layout(name).family
    return _layout(arch)["stem"]


def _layout(arch: str) -> dict[str, Any]:
    """The entry of one of our architectures.

    Raises:
        EANError: for an unknown name.
    """
    if arch not in ARCHITECTURES:
        raise unknown_name("architecture", arch, list(ARCHITECTURES))
    return ARCHITECTURES[arch]
