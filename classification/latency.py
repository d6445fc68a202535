"""Time as an objective of the search: its table, checked against the run, in the reward and as a limit."""

from __future__ import annotations

from mmengine.device import get_device

from classification.parts import Job
from classification.supernet import both_sections
from ean_core.latency import LatencyTable, device_name
from ean_core.networks import stages_blocks
from ean_core.search import Reward, SearchMethod
from ean_core.search.limit import Limit, Limited, TimedReward


def latency_table(job: Job) -> LatencyTable | None:
    """The recipe's table; None if it has none.

    Raises:
        EANError: if the table is of another network, attention, image size, batch or device than the search is for, or
            its limit leaves no scheme to search.
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
    if search.max_increment is not None:
        Limit(table.percent, search.max_increment)
    return table


def timed_reward(job: Job, table: LatencyTable | None) -> Reward:
    """The recipe's reward, which knows the table if there is one."""
    reward = both_sections(job)[1].reward
    return reward if table is None else TimedReward.of(reward, table.percent)


def limited(job: Job, method: SearchMethod, table: LatencyTable | None) -> SearchMethod:
    """The method, kept to the recipe's limit if there is one; to be called when the method is complete."""
    limit = both_sections(job)[1].max_increment
    return method if limit is None or table is None else Limited(method, Limit(table.percent, limit))
