"""Grad-CAM (https://arxiv.org/abs/1610.02391): where in an image a network finds what speaks for a target.

The heatmap is ReLU(sum over k of w_k A_k) for the feature maps A_k of a layer, w_k being the mean over the positions
of the target's gradient with respect to A_k. The computation is the grad-cam library's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ean_core.utils.optional_packages import require


def grad_cam(
    network: nn.Module, layer: nn.Module, images: Tensor, values: Sequence[Callable[[Tensor], Tensor]]
) -> tuple[np.ndarray, Tensor]:
    """Heatmaps of a batch.

    Args:
        network: in eval mode; left as it was, its gradients cleared.
        layer: whose output (B, C, h, w) is looked at; usually the last stage.
        images: the network's input (B, C, H, W).
        values: for each image, from the network's output for it to the scalar that is explained.

    Returns:
        float32 (B, H, W), each map stretched to 0 to 1 (all 0 where nothing speaks for the target), and the network's
        output for the batch.
    """
    require("pytorch_grad_cam", extra="explain", what="Grad-CAM")
    from pytorch_grad_cam import GradCAM

    cam = GradCAM(model=network, target_layers=[layer])
    try:  # not as a context manager, which would keep an IndexError to itself
        with torch.enable_grad():
            heat = cam(input_tensor=images, targets=list(values))
        return heat, cam.outputs.detach()
    finally:
        cam.activations_and_grads.release()
        network.zero_grad()
