"""`create_model` builds any architecture with any attention and scheme, with pretrained weights if wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ean_core.attention import build_attention
from ean_core.io.scheme_record import read_scheme_file
from ean_core.networks.architectures import ARCHITECTURES, architecture_family, is_timm, stages_blocks, timm_name
from ean_core.networks.base import StagedNetwork
from ean_core.networks.mean_masks import check_unconnected
from ean_core.networks.pretrained import load_weights
from ean_core.networks.resnet import ResNet
from ean_core.networks.timm_backbone import TimmNetwork, output_stride_of
from ean_core.networks.weights_file import read_weights
from ean_core.scheme import SchemeLike, as_scheme, scheme_file
from ean_core.utils.checked_dataclasses import Range, check_arguments
from ean_core.utils.errors import EANError

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
    unconnected: str = "identity",
    pretrained: bool | str | Path = False,
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
        unconnected: what a block without a connection does to its residual: "identity", or in a supernet "mean", which
            multiplies it by the running mean of its mask (`ean_core.networks.mean_masks`).
        pretrained: initial weights. True for the public ImageNet weights of the architecture, torchvision's or timm's;
            or a file, a URL, "torchvision://resnet50.imagenet1k_v2", or a shipped model's name. A head of another size
            keeps its random weights, and attention that the weights lack starts neutral.
        layout: strides, dilations, contract_dilation or conv_bias of `ResNet`; timm's networks support the layouts of
            `timm_backbone.output_stride_of`.

    Raises:
        EANError: for an unknown name, a scheme of another length, or weights that cannot be read or do not fit.
    """
    check_arguments(
        "create_model",
        arch=(arch, str),
        num_classes=(num_classes, Annotated[int, Range(0, MAX_CHANNELS)] | None),
        attention=(attention, Annotated[str, Range(1)] | None),
        sharing=(sharing, str),
        attention_options=(attention_options, Mapping[str, Any] | None),
        in_channels=(in_channels, Annotated[int, Range(1, MAX_CHANNELS)]),
        pretrained=(pretrained, bool | str | Path),
    )
    _check_scheme(scheme, attention, stages_blocks(arch))
    _check_layout(arch, layout)
    check_unconnected(unconnected)
    org_full = isinstance(scheme, str) and scheme == "org-full"
    network = _build(
        arch,
        num_classes=num_classes,
        attention=attention,
        sharing="block" if org_full else sharing,
        attention_options=dict(attention_options or {}),
        in_channels=in_channels,
        unconnected=unconnected,
        layout=layout,
    )
    if attention is not None:
        network.set_scheme(scheme)
    if pretrained:
        load_weights(network, read_weights("imagenet" if pretrained is True else pretrained, arch=arch))
    return network


def _build(
    arch: str,
    *,
    num_classes: int | None,
    attention: str | None,
    sharing: str,
    attention_options: dict[str, Any],
    in_channels: int,
    unconnected: str,
    layout: dict[str, Any],
) -> StagedNetwork:
    """The network with random weights and, where there is attention, all connections."""
    family = architecture_family(arch)
    if num_classes is None:
        num_classes = 100 if family == "cifar" else 1000
    common: dict[str, Any] = {
        "num_classes": num_classes or None,
        "attention": attention and partial(build_attention, attention, family=family, options=attention_options),
        "sharing": sharing,
        "in_channels": in_channels,
    }
    if (name := timm_name(arch)) is not None:
        network: StagedNetwork = TimmNetwork(name, output_stride=output_stride_of(name, **layout), **common)
    else:
        network = ResNet(**{**ARCHITECTURES[arch], **layout}, **common)
    if attention is not None and unconnected == "mean":
        network.keep_mean_masks()
    network.made_with = {
        "arch": arch,
        "num_classes": num_classes,
        "attention": attention,
        "sharing": sharing,
        "attention_options": attention_options,
        "in_channels": in_channels,
        "unconnected": unconnected,
        "layout": layout,
    }
    return network


def _check_scheme(scheme: SchemeLike, attention: str | None, blocks: Sequence[int]) -> None:
    """Refuse a scheme with connections for a network without attention.

    Raises:
        EANError: with the attention to give.
    """
    if scheme is None or attention is not None or not as_scheme(scheme, blocks).connections:
        return
    file = scheme_file(scheme)
    name = (read_scheme_file(file).get("attention") if file is not None else None) or "se"
    raise EANError(f"a scheme with connections was given but attention is None: give attention={name!r} or another")


def _check_layout(arch: str, layout: Mapping[str, Any]) -> None:
    """Refuse options that the layout of an architecture does not have.

    Raises:
        EANError: if there are any, or one has another form.
    """
    options = {"strides", "dilations", "contract_dilation"} | (set() if is_timm(arch) else {"conv_bias"})
    if stray := sorted(set(layout) - options):
        raise EANError(f"create_model has no options {stray} for {arch}: see its docstring")
    per_stage = tuple[(Annotated[int, Range(1, 64)],) * len(stages_blocks(arch))]
    kinds = {"strides": per_stage, "dilations": per_stage, "contract_dilation": bool, "conv_bias": bool}
    check_arguments("create_model", **{name: (value, kinds[name]) for name, value in layout.items()})
