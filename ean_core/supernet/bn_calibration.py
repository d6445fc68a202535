"""Batch norm calibration: recompute running statistics for one path of a supernet, and restore them afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ean_core.networks import StagedNetwork
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.networks.mean_masks import MeanMasks
from ean_core.scheme import Scheme
from ean_core.supernet.path_metric import Batch, PathMetric
from ean_core.supernet.prefix_cache import Batches, Bits, CachedBatches, PrefixCache
from ean_core.utils.distributed import rank_and_world


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """All batch norm layers of the network, in module order."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@contextmanager
def preserve_batch_norm(network: nn.Module) -> Iterator[None]:
    """Restore the batch norms' running statistics and momentum, and the mean masks, when the block ends."""
    norms = batch_norms(network)
    means = [module for module in network.modules() if isinstance(module, MeanMasks)]
    masks = [(module.masks.clone(), module.steps.clone()) for module in means]
    saved = [
        (norm.running_mean.clone(), norm.running_var.clone(), norm.num_batches_tracked.clone(), norm.momentum)
        for norm in norms
    ]
    try:
        yield
    finally:
        for norm, (mean, var, count, momentum) in zip(norms, saved, strict=True):
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(var)
            norm.num_batches_tracked.copy_(count)
            norm.momentum = momentum
        for module, (values, steps) in zip(means, masks, strict=True):
            module.masks.copy_(values)
            module.steps.copy_(steps)


@torch.no_grad()
def calibrate_bn(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of any network, in place, by their mean over batches of training images.

    Args:
        network: in eval mode, in which all else stays.
        batches: images (B, C, H, W) each, normalized and on the network's device; none leaves the statistics alone.
    """
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    try:
        for number, images in enumerate(batches, start=1):
            for norm in norms:
                norm.train()
                norm.momentum = 1.0 / number  # the first batch replaces what was there
            network(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


class BNCalibration:
    """Replaces the running statistics by their mean over training batches, for one scheme at a time.

    Weights shared by 2^m paths leave running statistics that fit none of them exactly
    (https://arxiv.org/abs/1904.00420). Batches are split among the processes. Each batch is normalized by its own
    statistics, so the mean over all batches does not depend on the number of processes, and the outputs and statistics
    of the first stages depend on those stages' bits alone: schemes with a common prefix share them. Batch norms that
    the network keeps frozen in training stay as they are.

    Args:
        network: its weights must not change any more.
        training: batches of training images, the same in all processes.
        metric: how a path is run.
        max_bytes: limit on cached images and features together.
    """

    def __init__(
        self, network: StagedNetwork | BackboneWrapper, training: Batches, *, metric: PathMetric, max_bytes: int
    ) -> None:
        self.network, self.metric = network, metric
        self.training = CachedBatches(training, max_bytes)
        self.features = PrefixCache(max_bytes, every_stage=metric.uses_all_stages)
        self.statistics: dict[Bits, list[Tensor]] = {}  # of the stem and first stages, over this process's batches

    @torch.no_grad()
    def __call__(self, scheme: Scheme) -> None:
        """Set the scheme, calibrate its statistics, and leave the network in eval mode."""
        network = self.network
        network.set_scheme(scheme)
        network.train()
        for norm in self._trained_norms():
            norm.reset_running_stats()
        prefix, (rank, world) = self.features.longest(scheme.stages), rank_and_world()
        cached = self.statistics.get(prefix, [])
        count = len(range(rank, len(self.training), world))
        batches = self._averaged(itertools.islice(self.training, rank, None, world))
        run = self.features.run(network, batches, self._stem, count=count, reserved_bytes=lambda: self.training.nbytes)
        for features, batch in run:  # the forward passes update the batch norms
            if self._head_norms():
                self.metric.outputs(network, features, batch)
        network.eval()
        for statistic, value in zip(self._statistics(len(prefix)), cached, strict=False):
            statistic.copy_(value)
        self._remember(scheme.stages)
        if world > 1:
            average_over_processes(self._statistics(len(scheme.stages), head=True), weight=count)

    def _averaged(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, setting momentum to 1 / n before the n-th so that the running statistics become means.

        A norm with momentum=None would do this by itself, but reads its counter from the GPU at every step.
        """
        norms = self._trained_norms()
        for number, batch in enumerate(batches, start=1):
            for norm in norms:
                norm.momentum = 1.0 / number
            yield batch

    def _stem(self, batch: Batch) -> Tensor:
        """The stem's output for a batch."""
        return self.network.forward_stem(self.metric.images(batch))

    def _trained_norms(self) -> list[nn.BatchNorm2d]:
        """The batch norms that use the batch's statistics in training; the network must be in training mode."""
        return [norm for norm in batch_norms(self.network) if norm.training]

    def _head_norms(self) -> set[nn.Module]:
        """The batch norms after the stages, which those of a task may have."""
        inside = set(self.network.network.modules()) if isinstance(self.network, BackboneWrapper) else None
        return set() if inside is None else {norm for norm in batch_norms(self.network) if norm not in inside}

    def _statistics(self, stages: int, *, head: bool = False) -> list[Tensor]:
        """Running means and variances of the stem and of the first `stages` stages, and with `head` of the rest."""
        late = {norm for stage in self.network.stages[stages:] for norm in batch_norms(stage)}
        late |= set() if head else self._head_norms()
        early = [norm for norm in batch_norms(self.network) if norm not in late]
        return [statistic for norm in early for statistic in (norm.running_mean, norm.running_var)]

    def _remember(self, bits: Bits) -> None:
        """Store the statistics of every prefix whose features are cached."""
        cached = self.features.cached
        prefixes = [bits[:count] for count in range(1, len(bits)) if bits[:count] in cached]
        self.statistics = {prefix: self.statistics[prefix] for prefix in cached if prefix in self.statistics}
        for prefix in prefixes:
            self.statistics[prefix] = [statistic.clone() for statistic in self._statistics(len(prefix))]


def average_over_processes(tensors: Sequence[Tensor], *, weight: int) -> None:
    """Replace the tensors in place by their weighted mean over the processes, with one all-reduce."""
    values = torch.cat(
        [*(tensor.flatten().double() * weight for tensor in tensors), tensors[0].new_tensor([weight]).double()]
    )
    dist.all_reduce(values)
    for tensor, mean in zip(
        tensors, (values[:-1] / values[-1]).split([tensor.numel() for tensor in tensors]), strict=True
    ):
        tensor.copy_(mean.view_as(tensor))
