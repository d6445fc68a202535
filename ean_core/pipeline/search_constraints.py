"""What every search of a run is held to: the reward, and the predicted time as its part or as a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.device import get_device
from torch import nn

from ean_core.benchmark.latency_table import LatencyTable, device_name
from ean_core.pipeline.job import Job
from ean_core.scheme import Scheme
from ean_core.search import GradientMethod, Reward, SearchMethod, build_method
from ean_core.search.latency_limit import Limit
from ean_core.search.latency_limited_method import Limited
from ean_core.search.reward import TimedReward
from ean_core.utils.distributed import is_main_process
from ean_core.utils.screen import say


@dataclass(frozen=True)
class SearchConstraints:
    """The reward and the limit of a run's searches.

    Attributes:
        job: the run.
        reward: Eq. 7, which knows the recipe's latency table if there is one.
        table: that table.
        limit: the recipe's time limit, if there is one.
    """

    job: Job
    reward: Reward
    table: LatencyTable | None
    limit: Limit | None

    @classmethod
    def of(cls, job: Job) -> SearchConstraints:
        """Those of the job's recipe.

        Raises:
            EANError: as `latency_table`, or if the limit leaves no scheme to search.
        """
        search, table = job.search, latency_table(job)
        if table is None:
            return cls(job, search.reward, None, None)
        limit = None if search.max_increment is None else Limit(table.percent, search.max_increment)
        return cls(job, TimedReward.of(search.reward, table.percent), table, limit)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of residual blocks per stage, to which a scheme's bits belong."""
        return self.job.task.blocks()

    def make_method(
        self, name: str, options: Mapping[str, Any], *, seed: int, supernet: nn.Module | None
    ) -> SearchMethod:
        """A fresh search method that keeps to the limit if there is one.

        Args:
            name, options: as `ean_core.search.build_method` takes them.
            seed: of everything random in the method.
            supernet: whose gradient a method such as DARTS follows; None only checks name and options, and gives a
                method that cannot search if it wants a gradient.

        Raises:
            EANError: for an unknown name or option, or a limit that the method cannot keep.
        """
        method = build_method(name, self.blocks, seed=seed, reward=self.reward, options=options)
        if isinstance(method, GradientMethod) and supernet is not None:
            method.gradient = self.job.task.make_gradient(supernet, images=self.gradient_images(method), seed=seed)
        return method if self.limit is None else Limited(method, self.limit)

    def gradient_images(self, method: SearchMethod) -> int:
        """Validation images that a step of the method takes its gradient on; 0 for methods without gradients."""
        inner = method.method if isinstance(method, Limited) else method
        if not isinstance(inner, GradientMethod):
            return 0
        return min(inner.images, self.job.task.count_validation_images())

    def print_warnings(self) -> None:
        """Print what makes the table doubtful, once for all processes; to be called before hours of training."""
        if self.table is None or not is_main_process():
            return
        device = get_device()
        threads = torch.get_num_threads() if device == "cpu" else None
        device_warning = self.table.device_warning(device_name(device), threads)
        warnings = (self.table.noise_warning, self.table.bias_warning, device_warning)
        for warning in filter(None, warnings):
            say(f"warning: {self.job.search.latency}: {warning}")

    def allows(self, scheme: Scheme) -> bool:
        """Whether the scheme is within the limit."""
        return self.limit is None or self.limit.allows(scheme)


def latency_table(job: Job) -> LatencyTable | None:
    """The recipe's table; None if it has none.

    Raises:
        EANError: if the table is of another network, attention, image size, batch or device than the search is for.
    """
    search = job.search
    if search.latency is None:
        return None
    table, model, dataset = LatencyTable.load(search.latency), job.recipe.model, job.task.dataset()
    table.require(
        search.latency,
        arch=model.arch,
        attention=model.attention,
        options=dict(model.attention_options),
        sharing="stage",
        blocks=job.task.blocks(),
        image_size=dataset.image_shape[-1],
        batch_size=min(search.latency_batch, dataset.timing_batch),
        model=job.task.model,
        device=search.latency_device or device_name(get_device()),
    )
    return table
