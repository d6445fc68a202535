"""The supernet: draw a path, and score schemes, remembering what was scored.

Efficient Attention Network, section 4.2 and Algorithm 1 (https://arxiv.org/abs/2011.14058). The supernet is a
share-full `StagedNetwork`; `set_scheme` changes its path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from ean_core.deploy.compile import compile_stages
from ean_core.deploy.fold import fold_batch_norm
from ean_core.networks import StagedNetwork
from ean_core.scheme import Scheme
from ean_core.supernet.bn_calibration import Reestimation, kept_batch_norm
from ean_core.supernet.prefix_cache import Batch, Batches, HeldBatches, PrefixFeatures, spare_memory
from ean_core.utils.errors import EANError


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

    Schemes run on a copy of the network with batch norm folded into the convolutions, one for all of them without
    re-estimation, and what the first stages gave for earlier schemes is used again (`PrefixFeatures`).

    Args:
        network: the supernet; its scheme and batch norms are put back after every call.
        validation: this process's batches to score on, in the same order whenever they are iterated over.
        normalize: uint8 images to the network's input.
        training: batches for re-estimating batch norm before a path is scored, the same in all processes and whenever
            they are iterated over; None (the paper) for not doing so.
        dtype: of the features; bfloat16 for mixed precision.
        compile: torch.compile of the blocks, once for all schemes; not with `training`.
        room: bytes of images and features that may be held; None: as many as `spare_memory` finds.

    Raises:
        EANError: in a call, for a supernet whose outputs are not finite: an accuracy could still be counted.
    """

    def __init__(
        self,
        network: StagedNetwork,
        validation: Batches,
        *,
        normalize: Callable[[Tensor], Tensor],
        training: Batches | None = None,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
        room: int | None = None,
    ) -> None:
        self.network = network
        self.normalize = normalize
        self.dtype, self.compile = dtype, compile
        self.device = next(network.parameters()).device
        room = spare_memory(self.device) if room is None else room
        self.reestimate: Reestimation | None = None
        if training is not None:
            self.reestimate = Reestimation(network, training, normalize=normalize, room=room // 3)
            room -= room // 3
        self.validation = HeldBatches(validation, room)
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
            counts = torch.stack([self._pass(scheme) for scheme in new.values()])  # (schemes, 3)
            if dist.is_initialized():
                dist.all_reduce(counts)
            found = counts.tolist()  # the one place where a device is waited for
            each = (time.perf_counter() - start) / len(new)
            for text, (_, total, wild) in zip(new, found, strict=True):
                if wild:
                    raise EANError(
                        f"the supernet's path {text} gives outputs that are not finite for {wild} of {total} images: "
                        "its training diverged, so train it again with a lower learning rate"
                    )
            self.memory |= {
                text: Score(accuracy=100.0 * correct / total, seconds=each)
                for text, (correct, total, _) in zip(new, found, strict=True)
            }
        return [self.memory[scheme.text] for scheme in schemes]

    @torch.no_grad()
    def _pass(self, scheme: Scheme) -> Tensor:
        """int64 (3,) on the device: how many of this process's images the scheme gets right, how many there are, and
        how many have outputs that are not finite."""
        counts = torch.zeros(3, dtype=torch.int64, device=self.device)
        for logits, labels in self._logits(self._network(scheme)):
            counts[0] += (logits.argmax(dim=1) == labels).sum()  # on the device: no wait per batch
            counts[1] += len(labels)
            counts[2] += (~logits.isfinite()).any(dim=1).sum()
        return counts

    def _network(self, scheme: Scheme) -> StagedNetwork:
        """The copy that the scheme runs on: one for all schemes, or with batch norm re-estimated for this one."""
        if self.reestimate is None:
            folded = self._fold()
            folded.set_scheme(scheme)
            return folded
        network, before, was_training = self.network, self.network.scheme, self.network.training
        mixed = torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)
        try:
            with kept_batch_norm(network):
                with mixed:
                    self.reestimate(scheme)
                return fold_batch_norm(network, prune=False).to(self.dtype)
        finally:
            network.set_scheme(before)
            network.train(was_training)

    def _fold(self) -> StagedNetwork:
        """The copy that all schemes run on."""
        if self._folded is None:
            was_training = self.network.training
            self._folded = fold_batch_norm(self.network.eval(), prune=False).to(self.dtype)
            self.network.train(was_training)
            if self.compile:
                compile_stages(self._folded)
        return self._folded

    def _logits(self, network: StagedNetwork) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits (B, K) and labels (B,) of all batches, from the features that are held for the scheme's first bits."""

        def stem(batch: Batch) -> Tensor:
            return network.forward_stem(self.normalize(batch["inputs"]).to(self.dtype))

        validation = self.validation
        runs = self.features.run(network, validation, stem, count=len(validation), beside=lambda: validation.nbytes)
        for features, batch in runs:
            yield network.forward_head(features), batch["labels"]
