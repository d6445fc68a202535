"""The light head: as its steps written out, folded, and what its config must not say."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ean_core.deploy.fold import fold_batch_norm
from ean_core.utils.errors import EANError
from segmentation.config import build_model, read_config
from segmentation.config_checks import check_padding
from segmentation.model.gated_dilated_head import GatedDilatedHead
from segmentation.model.logits_network import Logits
from tests.helpers.tiny_networks import difference
from tests.segmentation.conftest import CONFIGS

HEAD = {
    "type": "GatedDilatedHead",
    "in_channels": (4, 6, 8),
    "in_index": (0, 1, 2),
    "channels": 5,
    "context_channels": 7,
    "num_classes": 3,
    "norm_cfg": {"type": "BN"},
    "align_corners": False,
}


def random_norms(module: nn.Module) -> None:
    """Give batch norms statistics and weights that change something."""
    for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.uniform_(norm.weight, 0.5, 1.5)


def step_by_step(head: GatedDilatedHead, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
    """The head's formula for two dilations."""
    x = head.reduce(coarse)
    for convolution, dilation in zip(head.dilated, (2, 4), strict=True):
        assert convolution.conv.dilation == (dilation, dilation)
        x = x + convolution(x)
    gate = torch.sigmoid(F.linear(x.mean(dim=(2, 3)), head.gate.weight[:, :, 0, 0], head.gate.bias))
    x = head.project(x * gate[:, :, None, None])
    for index, feature in ((1, middle), (0, fine)):
        x = F.interpolate(x, feature.shape[2:], mode="bilinear")
        x = head.smooth[index](torch.relu(x + head.lateral[index](feature)))
    return head.conv_seg(x)


@torch.no_grad()
def test_the_head_is_its_formula() -> None:
    torch.manual_seed(0)
    head = MODELS.build(HEAD).eval()
    random_norms(head)
    features = [torch.randn(2, channels, *size) for channels, size in ((4, (12, 16)), (6, (6, 8)), (8, (3, 4)))]
    torch.testing.assert_close(head(features), step_by_step(head, *features))
    assert head(features).shape == (2, 3, 12, 16)


def test_it_adds_features_and_so_needs_two() -> None:
    with pytest.raises(EANError, match="adds earlier features to the last ones"):
        GatedDilatedHead((8,), (0,), 5, num_classes=3)


@torch.no_grad()
def test_the_whole_segmentor_folds() -> None:
    config = read_config(CONFIGS / "org_camvid_lite0.py")
    config.model.backbone.init_cfg = None
    network = Logits(build_model(config)).eval()
    random_norms(network.decode_head)
    folded = fold_batch_norm(network)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.decode_head.modules())
    images = torch.randn(1, 3, 48, 64)
    assert difference(network(images), folded(images)) < 1e-3


def test_images_are_padded_with_what_pixels_can_be() -> None:
    """mmsegmentation pads after it normalizes, so that a gray value would lie far outside."""
    config = read_config(CONFIGS / "org_camvid_lite0.py")
    check_padding(config)
    config.model.data_preprocessor.pad_val = 127
    with pytest.raises(EANError, match=r"pad_val is 127, but images are padded after .* from -0.99 to 1.00: give 0"):
        check_padding(config)
