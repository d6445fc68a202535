"""The public `create_model`: a network of `ean_core.networks.create_model`, with pretrained weights if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ean_core import networks
from ean_core.networks.base import StagedNetwork
from ean_core.networks.pretrained import load_weights
from ean_core.networks.weights_file import read_weights
from ean_core.scheme import SchemeLike
from ean_core.utils.checked_dataclasses import check_arguments


def create_model(
    arch: str,
    *,
    num_classes: int | None = None,
    attention: str | None = None,
    sharing: str = "stage",
    scheme: SchemeLike = None,
    attention_options: Mapping[str, Any] | None = None,
    in_channels: int = 3,
    pretrained: bool | str | Path = False,
    **layout: Any,
) -> StagedNetwork:
    """Build a residual network with attention.

    Args:
        arch: such as "resnet164", "resnet50" or "timm:resnet50"; see `ean_core.networks.create_model`, also for the
            other arguments.
        num_classes: outputs of the head; default 100 for the CIFAR and 1000 for the ImageNet networks; 0 for none.
        attention: None, "se", "sge", "dia", one of timm's such as "timm:eca", or a registered one.
        sharing: "stage" (Share-full, EAN) or "block" (Org-full).
        scheme: None (all ones), a `Scheme`, bits, a scheme.json, or a name: "org", "share-full", "org-full" or that of
            a shipped scheme such as "paper_ean_se_resnet50".
        attention_options: overrides of the paper's options, such as `{"reduction": 8}`.
        in_channels: of the images.
        pretrained: initial weights. True for the public ImageNet weights of the architecture, torchvision's or timm's;
            or a file, a URL, "torchvision://resnet50.imagenet1k_v2", or a shipped model's name. A head of another size
            keeps its random weights, and attention that the weights lack starts neutral.
        layout: strides, dilations, contract_dilation or conv_bias.

    Raises:
        EANError: for an unknown name, a scheme of another length, or weights that cannot be read or do not fit.
    """
    check_arguments("create_model", pretrained=(pretrained, bool | str | Path))
    network = networks.create_model(
        arch,
        num_classes=num_classes,
        attention=attention,
        sharing=sharing,
        scheme=scheme,
        attention_options=attention_options,
        in_channels=in_channels,
        **layout,
    )
    if pretrained:
        load_weights(network, read_weights("imagenet" if pretrained is True else pretrained, arch=arch))
    return network
