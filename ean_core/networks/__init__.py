"""Named architectures, and `create_model`, which builds any of them with any attention and scheme.

Networks and their files are here; fast inference of trained networks is in `ean_core.deploy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from ean_core.attention import build_attention
from ean_core.networks import timm_backbone
from ean_core.networks.base import StagedNetwork
from ean_core.networks.blocks import BasicBlock, Bottleneck
from ean_core.networks.resnet import ResNet, count_parameters, input_shape
from ean_core.scheme import SchemeLike, as_scheme, read_scheme_file, scheme_file
from ean_core.utils.checked_dataclasses import Range, check_arguments
from ean_core.utils.errors import EANError, unknown_name


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


MAX_CHANNELS = 10_000_000  # of images, and classes


def create_model(
    arch: str,
    *,
    num_classes: int | None = None,
    attention: str | None = None,
    sharing: str = "stage",
    scheme: SchemeLike = None,
    attention_options: Mapping[str, Any] | None = None,
    in_channels: int = 3,
    **layout: Any,
) -> StagedNetwork:
    """Build a residual network with attention.

    Args:
        arch: a key of `ARCHITECTURES`: CIFAR's resnet20/29/56/83/110/164, ImageNet's resnet18/34/50/101/152 with the
            paper's biased convolutions, or `<name>_nobias` for public ImageNet weights; or `timm:` and the name of a
            residual network of timm's (`timm_backbone`).
        num_classes: outputs of the head; default 100 for the CIFAR and 1000 for the ImageNet networks; 0 for none.
        attention: None, or a name: "se", "sge", "dia", one of timm's such as "timm:eca", or a registered one.
        sharing: "stage" (Share-full, EAN) or "block" (Org-full).
        scheme: None (all ones), a `Scheme`, bits such as "0011...", a path to a scheme.json, a shipped scheme such as
            "paper_ean_se_resnet50", "org", "share-full", or "org-full", which implies `sharing="block"`.
        attention_options: overrides of the paper's options, such as `{"reduction": 8}`.
        in_channels: of the images.
        layout: strides, dilations, contract_dilation or conv_bias of `ResNet`; timm's networks support the layouts of
            `timm_backbone.output_stride_of`.

    Raises:
        EANError: for an unknown name, or a scheme of another length.
    """
    check_arguments(
        "create_model",
        arch=(arch, str),
        num_classes=(num_classes, Annotated[int, Range(0, MAX_CHANNELS)] | None),
        attention=(attention, Annotated[str, Range(1)] | None),
        sharing=(sharing, str),
        attention_options=(attention_options, Mapping[str, Any] | None),
        in_channels=(in_channels, Annotated[int, Range(1, MAX_CHANNELS)]),
    )
    blocks = stages_blocks(arch)
    if scheme is not None and attention is None and as_scheme(scheme, blocks).connections:
        file = scheme_file(scheme)
        name = (read_scheme_file(file).get("attention") if file is not None else None) or "se"
        raise EANError(f"a scheme with connections was given but attention is None: give attention={name!r} or another")
    if isinstance(scheme, str) and scheme == "org-full":
        sharing = "block"
    name = arch.removeprefix(timm_backbone.PREFIX)
    family = timm_backbone.timm_layout(name).family if is_timm(arch) else ARCHITECTURES[arch]["stem"]
    if num_classes is None:
        num_classes = 100 if family == "cifar" else 1000
    common: dict[str, Any] = {
        "attention": attention and partial(build_attention, attention, family=family, options=attention_options),
        "sharing": sharing,
        "in_channels": in_channels,
        "num_classes": num_classes or None,
    }
    _check_layout(arch, layout)
    if is_timm(arch):
        stride = timm_backbone.output_stride_of(name, **layout)
        network: StagedNetwork = timm_backbone.TimmNetwork(name, output_stride=stride, **common)
    else:
        network = ResNet(**{**ARCHITECTURES[arch], **layout}, **common)
    if attention is not None:
        network.set_scheme(scheme)
    network.made_with = {
        "arch": arch,
        "num_classes": num_classes,
        "attention": attention,
        "sharing": sharing,
        "attention_options": dict(attention_options or {}),
        "in_channels": in_channels,
        "layout": layout,
    }
    return network


def _check_layout(arch: str, layout: Mapping[str, Any]) -> None:
    """Refuse options of `create_model` that an architecture does not have.

    Raises:
        EANError: if there are any, or one has another form.
    """
    options = {"strides", "dilations", "contract_dilation"} | (set() if is_timm(arch) else {"conv_bias"})
    if stray := sorted(set(layout) - options):
        raise EANError(f"create_model has no options {stray} for {arch}: see its docstring")
    per_stage = tuple[(Annotated[int, Range(1, 64)],) * len(stages_blocks(arch))]
    kinds = {"strides": per_stage, "dilations": per_stage, "contract_dilation": bool, "conv_bias": bool}
    check_arguments("create_model", **{name: (value, kinds[name]) for name, value in layout.items()})


def is_timm(arch: str) -> bool:
    """Whether an architecture's name begins with `timm:`."""
    return arch.startswith(timm_backbone.PREFIX)


def stage_strides(arch: str) -> tuple[int, ...]:
    """Pixels of the image per position of each stage's output, without strides or dilations given to `create_model`.

    (4, 8, 16, 32) for resnet50, (2, 4, 8, 16, 16, 32, 32) for timm:tf_efficientnet_lite0.

    Raises:
        EANError: for an unknown name, or a network of timm's that cannot be adapted.
    """
    if is_timm(arch):
        return timm_backbone.timm_strides(arch.removeprefix(timm_backbone.PREFIX))
    stages = len(stages_blocks(arch))
    first = 1 if ARCHITECTURES[arch]["stem"] == "cifar" else 4
    return tuple(first * 2**stage for stage in range(stages))


def stages_blocks(arch: str) -> tuple[int, ...]:
    """Blocks per stage of a named architecture, without building it.

    Raises:
        EANError: for an unknown name, or a network of timm's that cannot be adapted.
    """
    if is_timm(arch):
        layout = timm_backbone.timm_layout(arch.removeprefix(timm_backbone.PREFIX))
        return tuple(len(blocks) for blocks in layout.stages)
    if arch not in ARCHITECTURES:
        raise unknown_name("architecture", arch, list(ARCHITECTURES))
    return tuple(ARCHITECTURES[arch]["depths"])


__all__ = [
    "ARCHITECTURES",
    "ResNet",
    "StagedNetwork",
    "count_parameters",
    "create_model",
    "input_shape",
    "is_timm",
    "stage_strides",
    "stages_blocks",
]
