"""Eq. 9: how much longer a network with attention takes than the one without, and how sure that figure is.

Efficient Attention Network (https://arxiv.org/abs/2011.14058), section 5: the relative inference time increment is
(t_with - t_without) / t_without. This is the only clock in the project. It departs from the paper, which averages
1000 forwards of one network after those of another, in three ways that make the figure repeatable on a busy machine:
the networks take turns, the median stands for the mean, and a bootstrap interval goes with every figure.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ean_core.utils.cuda_graph import no_garbage_collection
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import Interval, bootstrap

Forward = Callable[..., object]
Clock = Callable[[], float]

TURN_SECONDS = 0.02  # a turn shorter than this would be measured in units of the scheduler's and the timer's noise
MAX_INNER = 1000
CALIBRATION_FORWARDS = 3


@dataclass(frozen=True)
class Timing:
    """Seconds per forward of one network, one value per round.

    Attributes:
        name: of the network.
        seconds: a round's mean over its `inner` forwards; the rounds are in the order they were measured in, so that
            the i-th values of two networks belong to the same moment.
        inner: forwards per round.
    """

    name: str
    seconds: tuple[float, ...]
    inner: int = 1

    @property
    def median(self) -> float:
        """Median over the rounds, in seconds per forward."""
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class Comparison:
    """A network's times, measured in turns with other networks.

    Attributes:
        timing: of every round.
        median: of the seconds per forward.
        increment: Eq. 9 against the reference, as a fraction; None for the reference itself.
    """

    timing: Timing
    median: Interval
    increment: Interval | None


# -- the measurement --------------------------------------------------------------------------------------------------


def measure(
    networks: Mapping[str, Forward],
    batch: object,
    *,
    rounds: int = 50,
    warmup: int = 5,
    inner: int | None = None,
    clock: Clock | None = None,
    after_round: Callable[[], None] | None = None,
) -> dict[str, Timing]:
    """Time the forward of every network in turns, under `torch.inference_mode()`.

    A network that is an `nn.Module` is put into eval mode and gets its modes back; any other callable, such as a
    compiled one, is called as it is.

    Args:
        networks: name -> callable, called with `batch` alone.
        batch: the input, for image networks (B, C, H, W) on the device that is to be timed.
        rounds: number of values per network.
        warmup: unmeasured forwards of each network before the first round.
        inner: forwards per turn, the same for all networks; None chooses as many as make the fastest network's turn
            last 20 ms.
        clock: returns seconds, after everything that was started has finished; None takes `device_clock`.
        after_round: called between rounds, outside the measurement (a progress bar).

    Raises:
        EANError: if there is nothing to measure.
    """
    if not networks or rounds < 1 or warmup < 0 or (inner is not None and inner < 1):
        raise EANError(
            "timing needs a network, at least one round and one forward per round, and no negative warm-up, got "
            f"{len(networks)} networks, rounds={rounds}, warmup={warmup}, inner={inner}"
        )
    clock = clock or device_clock(getattr(batch, "device", "cpu"))
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    with evaluating(networks.values()), torch.inference_mode(), no_garbage_collection():
        for forward in networks.values():
            turn(forward, batch, warmup, clock)
        if inner is None:
            inner = forwards_per_turn([turn(f, batch, CALIBRATION_FORWARDS, clock) for f in networks.values()])
        for number in range(rounds):
            for name in round_order(tuple(networks), number):
                seconds[name].append(turn(networks[name], batch, inner, clock))
            if after_round is not None:
                after_round()
    return {name: Timing(name, tuple(values), inner) for name, values in seconds.items()}


def turn(forward: Forward, batch: object, count: int, clock: Clock) -> float:
    """Mean seconds of `count` forwards; 0 for none."""
    start = clock()
    for _ in range(count):
        forward(batch)
    return (clock() - start) / max(count, 1)


def round_order(names: Sequence[str], number: int) -> tuple[str, ...]:
    """The order of the networks in a round: rotated every other round and mirrored in between.

    A B C, C B A, B C A, A C B, ..

    Rotation alone would let most networks run after the same neighbour in nearly every round, and a machine that
    warms up would charge it to them; with the mirrored rounds every pair runs in both orders equally often.
    """
    shift = (number // 2) % len(names)
    order = (*names[shift:], *names[:shift])
    return order[::-1] if number % 2 else order


def forwards_per_turn(seconds: Sequence[float]) -> int:
    """How many forwards make the fastest network's turn last `TURN_SECONDS`, from 1 to 1000."""
    fastest = max(min(seconds), 1e-9)
    return min(max(math.ceil(TURN_SECONDS / fastest), 1), MAX_INNER)


def device_clock(device: torch.device | str) -> Clock:
    """`time.perf_counter` after the device has finished everything that was queued.

    Wall time rather than device events, because events leave out the launching of kernels by the processor, which is
    most of the time of a deep thin network with small batches.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return time.perf_counter

    synchronize = partial(torch.cuda.synchronize, device) if device.type == "cuda" else torch.mps.synchronize

    def now() -> float:
        synchronize()
        return time.perf_counter()

    return now


@contextmanager
def evaluating(networks: Sequence[Forward]) -> Iterator[None]:
    """Every module among the callables is in eval mode inside the block, and as it was after it."""
    modes = [(part, part.training) for net in networks if isinstance(net, nn.Module) for part in net.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training


# -- the figures ------------------------------------------------------------------------------------------------------


def compare(
    networks: Mapping[str, Forward],
    batch: object,
    *,
    reference: str,
    rounds: int = 50,
    seed: int = 0,
    clock: Clock | None = None,
    after_round: Callable[[], None] | None = None,
) -> dict[str, Comparison]:
    """Measure networks in turns, and each one's increment over `reference`, which is one of them.

    The other arguments are those of `measure` and, for `seed`, of the bootstrap.
    """
    timings = measure(networks, batch, rounds=rounds, clock=clock, after_round=after_round)
    return {
        name: Comparison(
            timing,
            median_interval(timing, seed=seed),
            None if name == reference else increment(timing, timings[reference], seed=seed),
        )
        for name, timing in timings.items()
    }


def increment(with_: Timing, without: Timing, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """Eq. 9, (t_with - t_without) / t_without, as a fraction: the median over the rounds, and its 95 % interval.

    Paired: both times of a round were taken within the same moment, so a load that comes and goes cancels in their
    ratio, and the bootstrap draws rounds rather than times.

    Raises:
        EANError: if the two were not measured in the same rounds.
    """
    if len(with_.seconds) != len(without.seconds):
        raise EANError(
            f"{with_.name} has {len(with_.seconds)} rounds and {without.name} {len(without.seconds)}: an increment "
            "needs both from the same call of measure()"
        )
    if min(without.seconds, default=0.0) <= 0:
        raise EANError(f"{without.name} has a round of zero duration: give more forwards per round")
    ratios = np.asarray(with_.seconds) / np.asarray(without.seconds) - 1
    return bootstrap(np.median, ratios, resamples=resamples, seed=seed)


def noise_warning(increments: Sequence[Interval]) -> str | None:
    """A warning where time increments, in percent, are smaller than their uncertainty; None for sound ones."""
    if not increments:
        return None
    noise = float(np.median([increment.half_width for increment in increments]))
    typical = float(np.mean([abs(increment.value) for increment in increments]))
    if noise <= typical:
        return None
    return (
        f"the increments are uncertain by about {noise:.2f} points and are {typical:.2f} on average: the machine was "
        "busy or the rounds were few; measure again on a quiet machine, with more --rounds"
    )


def median_interval(timing: Timing, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """The median of a network's seconds per forward, and its 95 % interval."""
    return bootstrap(np.median, timing.seconds, resamples=resamples, seed=seed)


def multiply_adds(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-adds of convolutions and matrix products for one image (C, H, W): the "FLOPs" of the literature.

    That is half of what `torch.utils.flop_counter` counts. Element-wise work, pooling and normalization are not
    counted, by custom: an attention made of these (SGE) shows in the time and not here.
    """
    like = next(network.parameters())
    image = torch.zeros(1, *shape, device=like.device, dtype=like.dtype)
    # no_grad and not inference_mode, under which composite operations would reach the counter whole
    with evaluating([network]), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops() // 2
