"""The supernet: draw a path, re-estimate batch norm for it, and score schemes, remembering what was scored.

Efficient Attention Network, section 4.2 and Algorithm 1 (https://arxiv.org/abs/2011.14058). The supernet is a
share-full `StagedNetwork`; `set_scheme` changes its path.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ean_core.fold import compile_steps, fold_batch_norm
from ean_core.networks import StagedNetwork
from ean_core.prefixes import Batches, HeldBatches, PrefixFeatures, spare_memory
from ean_core.scheme import Scheme
from ean_core.training.distributed import rank_and_world


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
    Several processes take turns at the batches; a batch is normalised by its own statistics, so that the mean over all
    batches is the same for any number of processes.

    Args:
        network: left in eval mode.
        images: normalised batches (B, C, H, W) of training images, the same in all processes.
    """
    norms = batch_norms(network)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average: every batch weighs the same
    network.train()
    rank, world = rank_and_world()
    mine = 0
    for batch in itertools.islice(images, rank, None, world):
        network(batch)
        mine += 1
    network.eval()
    if world > 1:
        average_over_processes([one for norm in norms for one in (norm.running_mean, norm.running_var)], weight=mine)


def average_over_processes(tensors: Sequence[Tensor], *, weight: int) -> None:
    """Replace the tensors, in place, by their mean over the processes, each with its weight; one message for all."""
    values = torch.cat(
        [*(one.flatten().double() * weight for one in tensors), tensors[0].new_tensor([weight]).double()]
    )
    dist.all_reduce(values)
    for one, mean in zip(tensors, (values[:-1] / values[-1]).split([one.numel() for one in tensors]), strict=True):
        one.copy_(mean.view_as(one))


@dataclass(frozen=True)
class Score:
    """What one pass over the validation set says of a path.

    Attributes:
        accuracy: top-1 in percent.
        seconds: how long the pass took; of several that were asked for together, the mean.
    """

    accuracy: float
    seconds: float


class Scorer:
    """Scores schemes on a supernet whose weights do not change any more, each only once.

    With several processes (torch.distributed) each scores its share of the validation images, and counts are added up:
    a step of one new scheme keeps all of them busy, and gives the same accuracy with any number of them.

    Without re-estimation, all schemes run on one copy of the network with batch norm folded into the convolutions, and
    what the first stages gave for earlier schemes is used again (`PrefixFeatures`).

    Args:
        network: the supernet; its scheme and batch norms are put back after every call.
        validation: this process's batches to score on, in the same order whenever they are iterated over.
        normalise: uint8 images to the network's input.
        training: batches for re-estimating batch norm before a path is scored, the same in all processes and whenever
            they are iterated over; None (the paper) for not doing so.
        dtype: of the features; bfloat16 for mixed precision.
        compile: torch.compile of the blocks, once for all schemes; not with `training`.
        room: bytes of images and features that may be held; None: as many as `spare_memory` finds.
    """

    def __init__(
        self,
        network: StagedNetwork,
        validation: Batches,
        *,
        normalise: Callable[[Tensor], Tensor],
        training: Batches | None = None,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
        room: int | None = None,
    ) -> None:
        self.network = network
        self.normalise = normalise
        self.dtype, self.compile = dtype, compile
        self.device = next(network.parameters()).device
        room = spare_memory(self.device) if room is None else room
        self.validation = HeldBatches(validation, room)
        self.training = None if training is None else HeldBatches(training, room // 2)
        self.features = PrefixFeatures(room)
        self.memory: dict[str, Score] = {}
        self._folded: StagedNetwork | None = None

    def __call__(self, schemes: Sequence[Scheme]) -> list[Score]:
        """The scores of the schemes, in their order; those seen before cost nothing."""
        start = time.perf_counter()
        # In the order of their bits, in which those that begin alike follow each other.
        named = sorted({scheme.text: scheme for scheme in schemes}.items())
        new = {text: scheme for text, scheme in named if text not in self.memory}
        if new:
            counts = torch.stack([self._pass(scheme) for scheme in new.values()])  # (schemes, 2)
            if dist.is_initialized():
                dist.all_reduce(counts)
            found = counts.tolist()  # the one place where a device is waited for
            each = (time.perf_counter() - start) / len(new)
            self.memory |= {
                text: Score(accuracy=100.0 * correct / total, seconds=each)
                for text, (correct, total) in zip(new, found, strict=True)
            }
        return [self.memory[scheme.text] for scheme in schemes]

    @torch.no_grad()
    def _pass(self, scheme: Scheme) -> Tensor:
        """int64 (2,) on the device: how many of this process's images the scheme gets right, and how many there are."""
        counts = torch.zeros(2, dtype=torch.int64, device=self.device)
        for logits, labels in self._reestimated(scheme) if self.training is not None else self._prefixed(scheme):
            counts[0] += (logits.argmax(dim=1) == labels).sum()  # on the device: no wait per batch
            counts[1] += len(labels)
        return counts

    def _reestimated(self, scheme: Scheme) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (B, K) and labels (B,) of all batches, with batch norm re-estimated for the scheme."""
        network, before, was_training = self.network, self.network.scheme, self.network.training
        mixed = torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)
        try:
            with kept_batch_norm(network), mixed:
                network.set_scheme(scheme)
                reestimate_batch_norm(network, (self.normalise(batch["inputs"]) for batch in self.training))
                for batch in self.validation:
                    yield network(self.normalise(batch["inputs"])), batch["labels"]
        finally:
            network.set_scheme(before)
            network.train(was_training)

    def _prefixed(self, scheme: Scheme) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (B, K) and labels (B,) of all batches, from the features that are held for its first bits."""
        network, bits = self._fold(), scheme.stages
        network.set_scheme(scheme)
        begun = self.features.longest(bits)
        known, new, keep = self.features.held.get(begun, []), {}, True
        for number, batch in enumerate(self.validation):
            x = known[number] if known else network.forward_stem(self.normalise(batch["inputs"]).to(self.dtype))
            for count, stage in enumerate(network.stages[len(begun) :], start=len(begun) + 1):
                x = stage(x)
                if keep and count < len(bits):
                    new.setdefault(bits[:count], []).append(x)
            if number == 0:
                one = sum(features[0].nbytes for features in new.values())
                keep = self.features.reserve(one * len(self.validation), beside=self.validation.nbytes)
                new = new if keep else {}
            yield network.forward_head(x), batch["labels"]
        self.features.held.update(new)

    def _fold(self) -> StagedNetwork:
        """The copy that all schemes run on."""
        if self._folded is None:
            was_training = self.network.training
            self._folded = fold_batch_norm(self.network.eval(), prune=False).to(self.dtype)
            self.network.train(was_training)
            if self.compile:
                compile_steps(self._folded)
        return self._folded
