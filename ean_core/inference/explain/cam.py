"""Grad-CAM (https://arxiv.org/abs/1610.02391): where in an image a network finds what speaks for a target.

The heatmap is ReLU(sum over k of w_k A_k) for the feature maps A_k of a layer, w_k being the mean over the positions
of the target's gradient with respect to A_k. It equals that of the grad-cam library, which keeps what it sees on the
network and its gradients on the parameters, so that two threads would get each other's heatmaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ean_core.inference.explain.module_outputs import watch


def grad_cam(
    network: nn.Module, layer: nn.Module, images: Tensor, values: Sequence[Callable[[Tensor], Tensor]]
) -> tuple[np.ndarray, Tensor]:
    """Heatmaps of a batch. Several threads may ask one network at a time.

    Args:
        network: in eval mode; nothing of it changes, its gradients neither.
        layer: whose output (B, C, h, w) is looked at; usually the last stage.
        images: the network's input (B, C, H, W).
        values: for each image, from the network's output for it to the scalar that is explained.

    Returns:
        float32 (B, H, W), each map stretched to 0 to 1 (all 0 where nothing speaks for the target), and the network's
        output for the batch.
    """
    features_seen: list[Tensor] = []

    def keep(module: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        features = output.detach().requires_grad_()  # the gradient is wanted this far and not below
        features_seen.append(features)
        return features.clone()  # what follows may work in place

    with torch.inference_mode(False), torch.enable_grad():
        with watch([layer], keep):
            outputs = network(images.clone())
        score = torch.stack([value(output) for value, output in zip(values, outputs, strict=True)]).sum()
        (gradients,) = torch.autograd.grad(score, features_seen[-1])
    weights = gradients.mean(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    heat = (weights * features_seen[-1].detach()).sum(dim=1).relu().float().cpu().numpy()  # (B, h, w)
    height, width = images.shape[2:]
    maps = [rescale(cv2.resize(rescale(heat_map), (width, height))) for heat_map in heat]
    return np.stack(maps), outputs.detach()


def rescale(heat: np.ndarray) -> np.ndarray:
    """Scale a map (H, W) to the range 0 to 1; a constant map becomes 0."""
    heat = heat - heat.min()
    return heat / (1e-7 + heat.max())
