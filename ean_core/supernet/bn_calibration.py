"""Batch norm re-estimated for one path of a supernet after the other, and put back afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ean_core.networks import StagedNetwork
from ean_core.scheme import Scheme
from ean_core.supernet.prefix_cache import Batch, Batches, Bits, HeldBatches, PrefixFeatures
from ean_core.utils.distributed import rank_and_world


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


class Reestimation:
    """Replaces the running statistics by the mean over training images, for one scheme after the other.

    Weights shared by 2^m paths leave statistics that fit none of them exactly (https://arxiv.org/abs/1904.00420).
    Several processes take turns at the batches; a batch is normalized by its own statistics, so that the mean over all
    batches is the same for any number of processes, and so that what the first stages give, and the statistics there,
    depend on the first stages' bits alone: schemes that begin alike share them.

    Args:
        network: its weights do not change any more.
        training: batches of training images, the same in all processes.
        normalize: uint8 images to the network's input.
        room: bytes of images, and of features, that may be held.
    """

    def __init__(
        self, network: StagedNetwork, training: Batches, *, normalize: Callable[[Tensor], Tensor], room: int
    ) -> None:
        self.network, self.normalize = network, normalize
        self.training = HeldBatches(training, room)
        self.features = PrefixFeatures(room)
        self.statistics: dict[Bits, list[Tensor]] = {}  # of stem and first stages, over this process's batches

    @torch.no_grad()
    def __call__(self, scheme: Scheme) -> None:
        """Set the scheme and its statistics, and leave the network in eval mode."""
        network = self.network
        network.set_scheme(scheme)
        for norm in batch_norms(network):
            norm.reset_running_stats()
        network.train()
        begun, (rank, world) = self.features.longest(scheme.stages), rank_and_world()
        known = self.statistics.get(begun, [])
        mine = len(range(rank, len(self.training), world))
        batches = self._averaged(itertools.islice(self.training, rank, None, world))
        run = self.features.run(network, batches, self._stem, count=mine, beside=lambda: self.training.nbytes)
        for _ in run:
            pass  # the batch norms take note
        network.eval()
        for statistic, value in zip(self._statistics(len(begun)), known, strict=False):
            statistic.copy_(value)
        self._remember(scheme.stages)
        if world > 1:
            average_over_processes(self._statistics(len(scheme.stages)), weight=mine)

    def _averaged(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches, with the norms told before each one what makes of all of them a mean.

        A norm without momentum counts by itself, and a GPU has to finish every time that it looks at its count.
        """
        norms = batch_norms(self.network)
        for number, batch in enumerate(batches, start=1):
            for norm in norms:
                norm.momentum = 1.0 / number
            yield batch

    def _stem(self, batch: Batch) -> Tensor:
        """What the first stage takes of a batch."""
        return self.network.forward_stem(self.normalize(batch["inputs"]))

    def _statistics(self, stages: int) -> list[Tensor]:
        """Running means and variances of the stem and the first stages."""
        late = {norm for stage in self.network.stages[stages:] for norm in batch_norms(stage)}
        early = [norm for norm in batch_norms(self.network) if norm not in late]
        return [statistic for norm in early for statistic in (norm.running_mean, norm.running_var)]

    def _remember(self, bits: Bits) -> None:
        """Keep the statistics beside the features that are held."""
        held = self.features.held
        new = [bits[:count] for count in range(1, len(bits)) if bits[:count] in held]
        self.statistics = {prefix: self.statistics[prefix] for prefix in held if prefix in self.statistics}
        for prefix in new:
            self.statistics[prefix] = [statistic.clone() for statistic in self._statistics(len(prefix))]


def average_over_processes(tensors: Sequence[Tensor], *, weight: int) -> None:
    """Replace the tensors, in place, by their mean over the processes, each with its weight; one message for all."""
    values = torch.cat(
        [*(one.flatten().double() * weight for one in tensors), tensors[0].new_tensor([weight]).double()]
    )
    dist.all_reduce(values)
    for one, mean in zip(tensors, (values[:-1] / values[-1]).split([one.numel() for one in tensors]), strict=True):
        one.copy_(mean.view_as(one))
