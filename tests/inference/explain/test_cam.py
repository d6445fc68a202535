"""Grad-CAM against a reference of a few lines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ean_core.attention import ATTENTIONS
from ean_core.inference.explain.cam import grad_cam
from tests.inference.explain.helpers import network, reference_cam


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("stage", [-1, 0])
def test_grad_cam_equals_the_reference(attention: str | None, stage: int) -> None:
    net = network(attention)
    images = torch.randn(2, 3, 16, 24)
    # a class for one and all but that for the other: what speaks against the one must not be lost at the ReLU
    values = [lambda logits: logits[1], lambda logits: -logits[1]]
    heat, output = grad_cam(net, net.stages[stage], images, values)
    assert heat.shape == (2, 16, 24)
    assert heat.max() > 0.9
    torch.testing.assert_close(output, net(images).detach())
    for index, value in enumerate(values):
        expected = reference_cam(net, net.stages[stage], images[index : index + 1], value)
        np.testing.assert_allclose(heat[index], expected, atol=1e-4)


def test_grad_cam_equals_the_librarys() -> None:
    library = pytest.importorskip("pytorch_grad_cam")
    net = network()
    images = torch.randn(2, 3, 16, 24)
    values = [lambda logits: logits[1], lambda logits: -logits[1]]
    with library.GradCAM(model=net, target_layers=[net.stages[-1]]) as cam:
        expected = cam(input_tensor=images.clone(), targets=values)
    heat, _ = grad_cam(net.requires_grad_(False), net.stages[-1], images, values)
    np.testing.assert_allclose(heat, expected, atol=1e-5)
    with torch.inference_mode():
        again, _ = grad_cam(net, net.stages[-1], images.clone(), values)
    np.testing.assert_allclose(again, heat, atol=1e-6)


def test_the_network_is_left_as_it_was() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.inference_mode():
        images = torch.randn(1, 3, 16, 16)
    grad_cam(net, net.stages[-1], images.clone(), [lambda logits: logits[0]])
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(IndexError):  # the library would swallow it, and draw nothing
        grad_cam(net, net.stages[-1], images.clone(), [lambda logits: logits[99]])
    assert not any(module._forward_hooks for module in net.modules())


def test_the_heat_is_where_the_target_is() -> None:
    class Bright(nn.Module):
        """One feature map, the brightness; its sum is the output."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 1, bias=False)
            nn.init.ones_(self.layer.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).sum(dim=(2, 3))

    images = torch.zeros(1, 3, 20, 30)
    images[:, :, 4:8, 21:27] = 1
    net = Bright()
    (heat,), _ = grad_cam(net, net.layer, images, [lambda output: output[0]])
    np.testing.assert_allclose(heat, images[0, 0].numpy(), atol=1e-5)
