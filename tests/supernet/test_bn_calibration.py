"""Batch norm calibration of any network, and what it leaves as it was."""

from __future__ import annotations

import torch
from torch import nn

from ean_core import create_model
from ean_core.supernet.bn_calibration import calibrate_bn, preserve_batch_norm


def test_statistics_become_the_means_over_the_batches() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    network[1].running_mean.fill_(9)
    batches = [torch.randn(6, 3, 5, 5) * scale for scale in (1, 2, 3)]
    calibrate_bn(network, batches)
    features = [network[0](batch).detach() for batch in batches]
    means = torch.stack([one.mean(dim=(0, 2, 3)) for one in features]).mean(dim=0)
    variances = torch.stack([one.var(dim=(0, 2, 3)) for one in features]).mean(dim=0)
    torch.testing.assert_close(network[1].running_mean, means)
    torch.testing.assert_close(network[1].running_var, variances)
    assert (network[1].momentum, network[1].training) == (0.1, False)


def test_a_block_of_code_leaves_statistics_and_mean_masks_as_they_were() -> None:
    network = create_model("resnet20", attention="se", unconnected="mean")
    before = {name: value.clone() for name, value in network.named_buffers()}
    with preserve_batch_norm(network):
        network.train()(torch.randn(2, 3, 8, 8))
        changed = {name for name, value in network.named_buffers() if not torch.equal(value, before[name])}
    assert {name.rpartition(".")[2] for name in changed} >= {"running_mean", "num_batches_tracked", "masks", "steps"}
    for name, value in network.named_buffers():
        assert torch.equal(value, before[name]), name
