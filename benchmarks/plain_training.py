"""Training as PyTorch alone does it, and what all sides of the comparison in `training.py` share."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from ab_harness import Turn, finish
from plain_images import PlainImages
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from ean_core import create_model
from ean_core.networks import StagedNetwork
from ean_core.scheme import Scheme
from ean_core.supernet.paths import draw_path

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def random_images(arguments: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Random uint8 images (N, 3, H, W) and labels (N,) of a turn: a step's time does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    count, side = arguments.steps * arguments.batch_size, arguments.image_size
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 100, (count,), generator=generator)


def first_batch(arguments: argparse.Namespace, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images and labels on which the sides' losses are compared."""
    images, labels = random_images(arguments)
    return images[: arguments.batch_size].to(device), labels[: arguments.batch_size].to(device)


def build(arguments: argparse.Namespace) -> StagedNetwork:
    """Build the network, with the same initial weights on every side."""
    torch.manual_seed(0)
    return create_model(arguments.arch, num_classes=100, attention=arguments.attention)


def optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """The paper's optimizer with its initial learning rate."""
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def path_of(arguments: argparse.Namespace, network: StagedNetwork, step: int) -> Scheme:
    """The scheme of a step: drawn for a supernet, all connected for a final network."""
    blocks = network.stages_blocks
    return draw_path(blocks, seed=0, step=step) if arguments.network == "supernet" else Scheme.all_on(blocks)


def plain_side(arguments: argparse.Namespace, device: torch.device) -> tuple[Turn, dict[str, Any]]:
    """Set up training as a user of PyTorch would write it.

    Returns:
        the work of a turn, and the loss on the first batch.
    """
    images, labels = random_images(arguments)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (MEAN, STD))
    loader = DataLoader(
        PlainImages(images, labels, mean, std),
        batch_size=arguments.batch_size,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
        pin_memory=device.type == "cuda",
    )
    network = build(arguments).to(device)
    optim = optimizer(network)
    step = 0

    def turn() -> dict[str, Any]:
        """Train for an epoch, in the usual loop."""
        nonlocal step
        for batch, targets in loader:
            network.set_scheme(path_of(arguments, network, step))
            loss = cross_entropy(network(batch.to(device)), targets.to(device))
            optim.zero_grad()
            loss.backward()
            optim.step()
            step += 1
        finish(device)
        return {}

    inputs, targets = first_batch(arguments, device)
    check = build(arguments).to(device)
    check.set_scheme(path_of(arguments, check, 0))
    normalized = (inputs.float() / 255 - mean.to(device)) / std.to(device)
    return turn, {"loss": cross_entropy(check(normalized), targets).item()}
