"""A small network, random photos, and Grad-CAM in a few lines, for the tests of explanations."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ean_core import create_model
from ean_core.networks import StagedNetwork
from tests.helpers.tiny_files import shake

RNG = np.random.default_rng(0)


def photo(height: int = 16, width: int = 16) -> Image.Image:
    """Random pixels, other ones at each call."""
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def network(attention: str | None = "se", **options: object) -> StagedNetwork:
    """A ResNet-20 with 4 classes, a scheme of four connections, and statistics that are not those of a new network."""
    torch.manual_seed(0)
    scheme = "010 100 011" if attention else None
    return shake(create_model("resnet20", num_classes=4, attention=attention, scheme=scheme, **options))


def reference_cam(net: nn.Module, layer: nn.Module, images: Tensor, value) -> np.ndarray:
    """Equations 1 and 2 of the Grad-CAM paper for one image, stretched to 0 to 1 and enlarged."""
    kept = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    score = value(net(images)[0])
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = (weights * kept[0]).sum(dim=1)[0].relu().detach().numpy()
    heat = heat - heat.min()
    heat = cv2.resize(heat / (1e-7 + heat.max()), images.shape[:1:-1])
    heat = heat - heat.min()
    return heat / (1e-7 + heat.max())
