"""What attention calls cost in time, here and now: networks in turns, never looked up."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ean_core.benchmark.latency_table import weigh, weighing_design
from ean_core.benchmark.timing import Clock, compare, measure
from ean_core.deploy.fold import InferenceFn
from ean_core.deploy.mean_mask import find_calls
from ean_core.deploy.modes import MODES, check_mode
from ean_core.io.json_file import read_json
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic
from ean_core.utils.intervals import Interval

FULL, TRIMMED, NONE = "as trained", "trimmed", "without attention"


@dataclass(frozen=True)
class CallCost:
    """What one attention call costs.

    Attributes:
        milliseconds: per forward pass.
        share: of the whole network's time, in percent.
    """

    milliseconds: Interval
    share: Interval


@dataclass(frozen=True)
class Costs:
    """What the attention calls of a network cost.

    Attributes:
        bare: milliseconds per forward pass without attention.
        calls: call -> its cost.
        run: key of the run that measured them, and of the device; None in files of earlier versions.
    """

    bare: float
    calls: Mapping[str, CallCost]
    run: str | None = None

    def increment(self, calls: Iterable[str]) -> float:
        """Time that some calls add, in percent of the time without attention (Eq. 9)."""
        return 100 * sum(self.calls[call].milliseconds.value for call in calls) / self.bare

    @property
    def noise_warning(self) -> str | None:
        """A warning, where the costs are smaller than their uncertainty; None for sound ones."""
        times = [cost.milliseconds for cost in self.calls.values()]
        typical = float(np.mean([abs(time.value) for time in times]))
        noise = float(np.median([time.half_width for time in times]))
        if noise <= typical:
            return None
        return (
            f"the costs of the calls are uncertain by about {noise:.3f} ms and are {typical:.3f} ms on average: the "
            "machine was busy or the rounds were few; measure again on a quiet machine, with more --rounds"
        )

    def save(self, path: Path) -> None:
        """Write the costs as JSON, for `load`."""
        write_atomic(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Costs:
        """Read what `save` wrote.

        Raises:
            EANError: if the file is damaged.
        """
        advice = "remove it, and the times are measured again"
        return checked(cls, read_json(path, what="file of times", advice=advice), where=str(path), advice=advice)


def call_costs(
    network: nn.Module,
    batch: Tensor,
    *,
    mode: str,
    rounds: int,
    seed: int = 0,
    clock: Clock | None = None,
    after_round: Callable[[], None] | None = None,
) -> Costs:
    """What every call of a network costs, weighed together (see `ean_core.benchmark.latency_table`).

    A call that is folded away costs as much as one that was never there, so the networks are timed without it.

    Args:
        network: in eval mode, on the batch's device.
        batch: images (B, C, H, W).
        mode: a key of `ean_core.deploy.modes.MODES`.
        rounds, seed, clock, after_round: as for `ean_core.benchmark.timing.compare`.

    Raises:
        EANError: if the mode cannot be had.
    """
    calls = [call.name for call in find_calls(network)]
    design = weighing_design(len(calls))  # 1 where a network has the call
    networks = {}
    for number, row in enumerate(design.tolist()):
        absent = [name for name, bit in zip(calls, row, strict=True) if not bit]
        networks[f"network {number}"] = ready(without(network, absent), batch, mode)
    timings = measure(networks, batch, rounds=rounds, clock=clock, after_round=after_round)
    seconds = np.array([timing.seconds for timing in timings.values()])
    percents = weigh(seconds, design, seed=seed)  # of the time without attention
    bare = timings["network 0"].median * 1e3
    whole = 100 + sum(percent.value for percent in percents)
    costs = {
        name: CallCost(percent.scaled(bare / 100), percent.scaled(100 / whole))
        for name, percent in zip(calls, percents, strict=True)
    }
    return Costs(bare, costs)


def compare_times(
    networks: Mapping[str, nn.Module],
    batch: Tensor,
    *,
    mode: str,
    rounds: int,
    seed: int = 0,
    clock: Clock | None = None,
    after_round: Callable[[], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Whole networks in turns: seconds per forward, and the percent of the first one's time that each saves."""
    reference = next(iter(networks))
    timed = {name: ready(without(network, []), batch, mode) for name, network in networks.items()}
    compared = compare(
        timed, batch, reference=reference, rounds=rounds, seed=seed, clock=clock, after_round=after_round
    )
    return {
        name: {
            "seconds": asdict(result.median),
            "saved": None if result.increment is None else asdict(_negative(result.increment.scaled(100))),
        }
        for name, result in compared.items()
    }


def _negative(interval: Interval) -> Interval:
    return Interval(-interval.value, -interval.high, -interval.low)


def without(network: nn.Module, absent: list[str]) -> nn.Module:
    """A copy without some calls and without the modules that no call needs.

    It shares the network's weights, except those of a supernet whose mean masks are folded into them.
    """
    folds = any(stage.mean_masks is not None for stage in getattr(network, "stages", ()))
    tensors = [] if folds else [*network.parameters(), *network.buffers()]
    shared = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    for call in find_calls(shared):
        if call.name in absent:
            call.drop(shared)
    for stage in getattr(shared, "stages", ()):
        stage.prune()
    return shared


def ready(network: nn.Module, batch: Tensor, mode: str) -> InferenceFn:
    """A network in an inference mode.

    Raises:
        EANError: for an unknown mode, or one that a network of timm's own cannot have.
    """
    check_mode(mode)
    if mode == "eager":
        return network.eval()
    if not hasattr(network, "conv_norm_pairs"):
        raise EANError(f"mode {mode!r} folds the networks of this project, and this is a plain one: give --mode eager")
    return MODES[mode].build(network, batch)


def example_batch(shape: tuple[int, int, int], *, batch_size: int | None, device: torch.device) -> Tensor:
    """Random images to time networks on; by default 50 small ones (the paper's), or one of more than 64 pixels."""
    count = batch_size or (50 if max(shape[1:]) <= 64 else 1)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0)).to(device)
