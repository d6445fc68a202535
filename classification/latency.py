"""Time as an objective of the search: its table, checked against the run, in the reward and as a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.device import get_device

from classification.job import Job
from classification.supernet import both_sections
from ean_core.benchmark.latency_table import LatencyTable, device_name
from ean_core.networks import stages_blocks
from ean_core.scheme import Scheme
from ean_core.search import Reward, SearchMethod, build_method
from ean_core.search.latency_limit import Limit, Limited, TimedReward
from ean_core.utils.distributed import is_first


@dataclass(frozen=True)
class Rules:
    """What every search of a run is held to.

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
    def of(cls, job: Job) -> Rules:
        """The recipe's.

        Raises:
            EANError: as `latency_table`, or if the limit leaves no scheme to search.
        """
        _, search = both_sections(job)
        table = latency_table(job)
        if table is None:
            return cls(job, search.reward, None, None)
        limit = None if search.max_increment is None else Limit(table.percent, search.max_increment)
        return cls(job, TimedReward.of(search.reward, table.percent), table, limit)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks per stage."""
        return stages_blocks(self.job.recipe.model.arch)

    def build(self, name: str, options: Mapping[str, Any], *, seed: int) -> SearchMethod:
        """A fresh method, which does not keep to the limit yet: what it needs beside scores comes first."""
        return build_method(name, self.blocks, seed=seed, reward=self.reward, options=options)

    def keep(self, method: SearchMethod) -> SearchMethod:
        """The method, kept to the limit if there is one; to be called when the method is complete."""
        return method if self.limit is None else Limited(method, self.limit)

    def warn(self) -> None:
        """Print what makes the table doubtful, once for all processes: before hours of training."""
        if self.table is None or not is_first():
            return
        device = get_device()
        threads = torch.get_num_threads() if device == "cpu" else None
        warnings = (self.table.noise_warning, self.table.device_warning(device_name(device), threads))
        for warning in filter(None, warnings):
            print(f"warning: {both_sections(self.job)[1].latency}: {warning}", flush=True)

    def allows(self, scheme: Scheme) -> bool:
        """Whether the scheme is within the limit."""
        return self.limit is None or self.limit.allows(scheme)


def latency_table(job: Job) -> LatencyTable | None:
    """The recipe's table; None if it has none.

    Raises:
        EANError: if the table is of another network, attention, image size, batch or device than the search is for.
    """
    _, search = both_sections(job)
    if search.latency is None:
        return None
    table, model = LatencyTable.load(search.latency), job.recipe.model
    table.require(
        search.latency,
        arch=model.arch,
        attention=model.attention,
        options=dict(model.attention_options),
        sharing="stage",
        blocks=stages_blocks(model.arch),
        image_size=job.data.image_shape[-1],
        batch_size=search.latency_batch,
        device=search.latency_device or device_name(get_device()),
    )
    return table
