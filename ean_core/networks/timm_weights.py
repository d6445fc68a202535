"""Public ImageNet weights of timm's networks."""

from __future__ import annotations

import logging

from torch import Tensor

from ean_core.networks.timm_families import make_timm
from ean_core.utils.errors import EANError, first_line


def download(name: str) -> dict[str, Tensor]:
    """Download timm's public weights for a network.

    Raises:
        EANError: if there are none, or they cannot be downloaded.
    """
    tag = name if "." in name else f"{name} (timm's default weights)"
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # its line per retry would hide the error
    try:
        return make_timm(name, pretrained=True).state_dict()
    except Exception as error:  # errors of the hub's client, requests and httpx
        raise EANError(
            f"the weights of {tag} cannot be downloaded ({type(error).__name__}: {first_line(error)}): download "
            "model.safetensors from the model's page at https://huggingface.co/timm yourself, and give that file"
        ) from None
