"""The supernet: draw a path, re-estimate batch norm for it, and score schemes, remembering what was scored.

Efficient Attention Network, section 4.2 and Algorithm 1 (https://arxiv.org/abs/2011.14058). The supernet is a
share-full `ResNet`; `set_scheme` changes its path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ean_core.networks.resnet import ResNet
from ean_core.scheme import Scheme

Batches = Iterable[Mapping[str, Tensor]]
"""Batches of `{"inputs": (B, C, H, W), "labels": (B,)}` on the network's device."""


def draw_path(blocks: Sequence[int], *, seed: int, step: int) -> Scheme:
    """a ~ Bernoulli(0.5)^m (Algorithm 1, line 3), a pure function of seed and step.

    So every process of a distributed run, and a resumed run, draws the same path without passing state around.
    """
    return Scheme.random(blocks, np.random.default_rng([seed, step]))


def sandwich_paths(blocks: Sequence[int], *, seed: int, step: int, random_paths: int = 2) -> list[Scheme]:
    """The sandwich rule (https://arxiv.org/abs/1903.05134): largest, smallest and random paths in one step."""
    rng = np.random.default_rng([seed, step])
    drawn = [Scheme.random(blocks, rng) for _ in range(random_paths)]
    return [Scheme.all_on(blocks), Scheme.all_off(blocks), *drawn]


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The network's batch norms, in order."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@contextmanager
def kept_batch_norm(network: nn.Module) -> Iterator[None]:
    """Put the batch norms' statistics and momentum back at the end of the block."""
    norms = batch_norms(network)
    kept = [
        (norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone(), norm.momentum)
        for norm in norms
    ]
    try:
        yield
    finally:
        for norm, (mean, var, count, momentum) in zip(norms, kept, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
            norm.num_batches_tracked.copy_(count)
            norm.momentum = momentum


@torch.no_grad()
def reestimate_batch_norm(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Replace the running statistics by the mean over `images` for the path that is set.

    Weights shared by 2^m paths leave statistics that fit none of them exactly (https://arxiv.org/abs/1904.00420).

    Args:
        network: left in eval mode.
        images: normalised batches (B, C, H, W) of training images.
    """
    for norm in batch_norms(network):
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average: every batch weighs the same
    network.train()
    for batch in images:
        network(batch)
    network.eval()


@dataclass(frozen=True)
class Score:
    """What one pass over the validation set says of a path.

    Attributes:
        accuracy: top-1 in percent.
        seconds: how long the pass took.
    """

    accuracy: float
    seconds: float


class Scorer:
    """Scores schemes on a supernet, each only once.

    With several processes (torch.distributed), the unseen schemes of a call are divided among them; every process
    holds the whole validation set and the same weights, and gets all the scores.

    Args:
        network: the supernet; its scheme and batch norms are put back after every call.
        validation: batches to score on, iterated once per scheme.
        normalise: uint8 images to the network's input.
        training: batches for re-estimating batch norm before a path is scored; None (the paper) for not doing so.
        autocast: makes the context that the forward passes run in, for mixed precision.
    """

    def __init__(
        self,
        network: ResNet,
        validation: Batches,
        *,
        normalise: Callable[[Tensor], Tensor],
        training: Sequence[Mapping[str, Tensor]] | None = None,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.network = network
        self.validation = validation
        self.normalise = normalise
        self.training = training
        self.autocast = autocast
        self.memory: dict[str, Score] = {}

    def __call__(self, schemes: Sequence[Scheme]) -> list[Score]:
        """The scores of the schemes, in their order; those seen before cost nothing."""
        unseen = list({scheme.text: scheme for scheme in schemes if scheme.text not in self.memory}.values())
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        mine = {scheme.text: self._pass(scheme) for scheme in unseen[rank::world]}
        gathered = [mine]
        if unseen and world > 1:
            gathered = [{} for _ in range(world)]
            dist.all_gather_object(gathered, mine)
        for part in gathered:
            self.memory.update(part)
        return [self.memory[scheme.text] for scheme in schemes]

    @torch.no_grad()
    def _pass(self, scheme: Scheme) -> Score:
        start = time.perf_counter()
        before = self.network.scheme
        was_training = self.network.training
        with kept_batch_norm(self.network), self.autocast():
            self.network.set_scheme(scheme)
            if self.training is not None:
                reestimate_batch_norm(self.network, (self.normalise(batch["inputs"]) for batch in self.training))
            self.network.eval()
            correct, total = 0, 0
            for batch in self.validation:
                logits = self.network(self.normalise(batch["inputs"]))
                correct = correct + (logits.argmax(dim=1) == batch["labels"]).sum()  # a tensor: no wait per batch
                total += len(batch["labels"])
        self.network.set_scheme(before)
        self.network.train(was_training)
        return Score(accuracy=100.0 * int(correct) / total, seconds=time.perf_counter() - start)
