"""Training with this project's model and loader: in a bare loop, and through the runner as the commands train."""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from ab_harness import Server, Turn, finish
from mmengine.hooks import Hook
from plain_training import MEAN, STD, build, first_batch, optimizer, path_of, random_images
from torch.utils.data import DataLoader

from ean_core.data import ArraySource, Augment, make_loader
from ean_core.data.normalize import Normalize
from ean_core.training.classifier import SupernetClassifier
from ean_core.training.hooks import ShowProgress
from ean_core.training.runner import build_runner
from ean_core.training.settings import TrainSettings
from ean_core.utils.errors import EANError


def model_and_loader(arguments: argparse.Namespace, device: torch.device) -> tuple[SupernetClassifier, DataLoader]:
    """Build the model and the loader as the commands do."""
    network, fast = build(arguments), arguments.side.startswith("fast")
    if fast:
        network.to(memory_format=torch.channels_last)
    precision = "bfloat16" if fast else "float32"
    normalize, graph = Normalize(MEAN, STD, channels_last=fast), arguments.side == "fast-graph"
    model = SupernetClassifier(network, normalize, precision=precision, cuda_graph=graph).to(device)
    if arguments.side == "fast-compiled":
        for stage in network.stages:  # as a supernet is compiled
            for block in stage.blocks:
                block.compile()
    images, labels = random_images(arguments)
    loader = make_loader(
        ArraySource(images, labels), None, batch_size=arguments.batch_size, train=True, augment=Augment(), device=device
    )
    return model, loader


def first_loss(arguments: argparse.Namespace, model: SupernetClassifier, device: torch.device) -> float:
    """The initial loss on the batch on which the plain side computes it too."""
    inputs, targets = first_batch(arguments, device)
    model = copy.deepcopy(model)  # batch norms keep no trace of the check
    model.paths = [path_of(arguments, model.network, 0)]
    return model(inputs, targets, mode="loss")["loss"].item()


def bare_side(arguments: argparse.Namespace, device: torch.device) -> tuple[Turn, dict[str, Any]]:
    """Set up the engine's steps in a bare loop.

    Returns:
        the work of a turn, and the loss on the first batch.
    """
    model, loader = model_and_loader(arguments, device)
    ready = {"loss": first_loss(arguments, model, device)}
    optim = optimizer(model)
    step = 0

    def turn() -> dict[str, Any]:
        """Train for an epoch; the seconds are those without summing up the weights."""
        nonlocal step
        start, begun = time.perf_counter(), None
        model.train()
        for batch in loader:
            model.paths = [path_of(arguments, model.network, step)]
            loss = model(**batch, mode="loss")["loss"]
            optim.zero_grad()
            loss.backward()
            optim.step()
            step += 1
            begun = checksum(model) if step == 1 else begun
        finish(device)
        return {"seconds": time.perf_counter() - start, "weights": checksum(model), "begun": begun}

    return turn, ready


def run_engine(arguments: argparse.Namespace, device: torch.device) -> None:
    """Run the engine, whose epochs are the turns; what happens between two epochs is not timed."""
    server = Server()
    model, loader = model_and_loader(arguments, device)
    first = first_loss(arguments, model, device)

    class Turns(Hook):
        priority = "VERY_HIGH"

        def before_train(self, runner: Any) -> None:
            server.send({"loss": first})

        def before_train_epoch(self, runner: Any) -> None:
            if not server.wait():
                sys.exit()
            self.start, self.begun = time.perf_counter(), None

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            model.paths = [path_of(arguments, model.network, runner.iter)]

        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            self.begun = checksum(model) if runner.iter == 0 else self.begun
            if arguments.side == "fast-graph" and model.graphed is None:
                raise EANError("the step is not in a CUDA graph (see above): leave out fast-graph")

        def after_train_epoch(self, runner: Any) -> None:
            finish(device)
            seconds = time.perf_counter() - self.start
            server.send({"seconds": seconds, "weights": checksum(model), "begun": self.begun})

    settings = TrainSettings(epochs=10_000, batch_size=arguments.batch_size, lr=0.1, save_interval=10_000)
    with tempfile.TemporaryDirectory() as directory:
        hooks = [Turns(), ShowProgress(None)]
        build_runner(model, loader, settings, work_dir=Path(directory), seed=0, hooks=hooks).train()


def checksum(model: SupernetClassifier) -> float:
    """Sum of the weights' magnitudes: equal if two sides were trained alike."""
    return torch.stack([value.detach().double().abs().sum() for value in model.network.parameters()]).sum().item()
