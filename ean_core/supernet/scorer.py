"""Score schemes on a trained supernet, each only once.

Efficient Attention Network, section 4.2 and Algorithm 1 (https://arxiv.org/abs/2011.14058). The supernet is a
share-full network of any task; `set_scheme` changes its path.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ean_core.deploy.compile import compile_stages
from ean_core.deploy.fold import fold_batch_norm
from ean_core.networks import StagedNetwork
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.scheme import Scheme
from ean_core.supernet.bn_calibration import BNCalibration, preserve_batch_norm
from ean_core.supernet.path_metric import Batch, PathMetric
from ean_core.supernet.prefix_cache import Batches, CachedBatches, PrefixCache, spare_memory
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Score:
    """Result of one pass over the validation set.

    Attributes:
        value: in percent, higher for better schemes, such as the top-1 accuracy.
        seconds: duration of the pass; the mean if several schemes were scored in one call.
    """

    value: float
    seconds: float


class Scorer:
    """Scores schemes on a trained supernet, each only once.

    With several processes (torch.distributed) each scores its share of the validation images, and the metric's sums
    are added: even a single scheme keeps all of them busy, and the score does not depend on their number.

    Schemes run on a copy of the network with batch norm folded into the convolutions (one copy for all schemes, unless
    batch norm is calibrated), and outputs of the first stages are reused between schemes (`PrefixCache`).

    Args:
        network: the supernet; every call restores its scheme and batch norms.
        validation: this process's batches to score on, in the same order in every iteration.
        metric: how a path is run and what is measured of it.
        training: batches for calibrating batch norm before each score, the same in all processes and in every
            iteration; None for no calibration, as in the paper.
        dtype: of the features; bfloat16 for mixed precision.
        compile: torch.compile of the blocks, once for all schemes; not with `training`.
        max_bytes: limit on cached images and features; None: what `spare_memory` allows.

    Raises:
        EANError: when called, if the supernet's outputs are not finite (most scores would be finite all the same).
    """

    def __init__(
        self,
        network: StagedNetwork | BackboneWrapper,
        validation: Batches,
        *,
        metric: PathMetric,
        training: Batches | None = None,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self.network = network
        self.metric = metric
        self.dtype, self.compile = dtype, compile
        self.device = next(network.parameters()).device
        max_bytes = spare_memory(self.device) if max_bytes is None else max_bytes
        self.calibrate_bn: BNCalibration | None = None
        if training is not None:
            self.calibrate_bn = BNCalibration(network, training, metric=metric, max_bytes=max_bytes // 3)
            max_bytes -= max_bytes // 3
        self.validation = CachedBatches(validation, max_bytes)
        self.features = PrefixCache(max_bytes, every_stage=metric.uses_all_stages)
        self.memory: dict[str, Score] = {}
        self._folded: StagedNetwork | BackboneWrapper | None = None

    def __call__(self, schemes: Sequence[Scheme]) -> list[Score]:
        """Score the schemes and return the scores in the same order; repeated schemes come from memory."""
        start = time.perf_counter()
        # Sorted by bits, so that schemes with a common prefix follow each other.
        named = sorted({scheme.text: scheme for scheme in schemes}.items())
        unseen = {text: scheme for text, scheme in named if text not in self.memory}
        if unseen:
            totals = torch.stack([self._pass(scheme) for scheme in unseen.values()])  # (schemes, 2 + k)
            if dist.is_initialized():
                dist.all_reduce(totals)
            counts = totals.tolist()  # the only synchronization with the device
            each = (time.perf_counter() - start) / len(unseen)
            for text, (total, non_finite, *_) in zip(unseen, counts, strict=True):
                if non_finite:
                    raise EANError(
                        f"the supernet's outputs on path {text} are not finite for {non_finite:.0f} of {total:.0f} "
                        "images: its training diverged, so train it again with a lower learning rate"
                    )
            self.memory |= {
                text: Score(value=self.metric.score(sums), seconds=each)
                for text, (_, _, *sums) in zip(unseen, counts, strict=True)
            }
        return [self.memory[scheme.text] for scheme in schemes]

    @torch.no_grad()
    def _pass(self, scheme: Scheme) -> Tensor:
        """float64 (2 + k,) on the device, of this process: all its images, those with non-finite outputs, and the
        metric's sums."""
        total = torch.zeros(2 + self.metric.sums_count, dtype=torch.float64, device=self.device)
        for outputs, batch in self._outputs(self._network(scheme)):
            non_finite = (~outputs.isfinite()).flatten(1).any(dim=1).sum()
            counts = torch.stack([torch.full_like(non_finite, len(outputs)), non_finite]).double()
            total += torch.cat([counts, self.metric.sums(outputs, batch)])
        return total

    def _network(self, scheme: Scheme) -> StagedNetwork | BackboneWrapper:
        """The folded copy that runs the scheme: shared by all schemes, or calibrated for this one."""
        if self.calibrate_bn is None:
            folded = self._fold()
            folded.set_scheme(scheme)
            return folded
        network, scheme_before, was_training = self.network, self.network.scheme, self.network.training
        mixed = torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)
        try:
            with preserve_batch_norm(network):
                with mixed:
                    self.calibrate_bn(scheme)
                return fold_batch_norm(network, prune=False).to(self.dtype)
        finally:
            network.set_scheme(scheme_before)
            network.train(was_training)

    def _fold(self) -> StagedNetwork | BackboneWrapper:
        """The folded copy shared by all schemes, made on first use."""
        if self._folded is None:
            was_training = self.network.training
            self._folded = fold_batch_norm(self.network.eval(), prune=False).to(self.dtype)
            self.network.train(was_training)
            if self.compile:
                compile_stages(self._folded)
        return self._folded

    def _outputs(self, network: StagedNetwork | BackboneWrapper) -> Iterator[tuple[Tensor, Batch]]:
        """Yield the outputs of every batch, using cached outputs of the first stages."""

        def stem(batch: Batch) -> Tensor:
            return network.forward_stem(self.metric.images(batch).to(self.dtype))

        validation = self.validation
        runs = self.features.run(
            network, validation, stem, count=len(validation), reserved_bytes=lambda: validation.nbytes
        )
        for features, batch in runs:
            yield self.metric.outputs(network, features, batch), batch
