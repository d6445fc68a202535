"""The time of a training step, from the first few of a training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.hooks import Hook

WARM_UP = 2
"""Steps that are not timed: the first ones also load workers and choose kernels."""
LEAST, MOST = 2, 10
"""Timed steps: at least and at most."""
SECONDS = 10.0
"""Time after which no further step is timed."""


@dataclass(frozen=True)
class Pace:
    """How fast a training is.

    Attributes:
        seconds: of a step.
        steps: of the whole training.
    """

    seconds: float
    steps: int

    @property
    def total(self) -> float:
        """Seconds of the whole training, without its validations."""
        return self.seconds * self.steps


class TimeSteps(Hook):
    """Times a few steps at the start of a training in this process.

    Args:
        told: called once with the result; not at all by a training that ends before.
    """

    priority = "VERY_LOW"

    def __init__(self, told: Callable[[Pace], None]) -> None:
        self.told, self.steps, self.start = told, 0, 0.0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Start the clock after the warm-up, and stop it some steps later."""
        self.steps += 1
        timed = self.steps - WARM_UP
        if timed > MOST or self.start < 0:
            return
        if timed == 0:
            synchronize()
            self.start = time.perf_counter()
        elif timed >= LEAST and (timed == MOST or time.perf_counter() - self.start > SECONDS):
            synchronize()
            seconds = (time.perf_counter() - self.start) / timed
            self.start = -1.0
            self.told(Pace(seconds, runner.max_iters))


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class StepsTimed(Exception):
    """Ends a training of a dry run.

    Attributes:
        pace: what was measured.
    """

    def __init__(self, pace: Pace) -> None:
        super().__init__(pace)
        self.pace = pace


def stop_when_timed(pace: Pace) -> None:
    """End the training: what a dry run gives to `TimeSteps`.

    Raises:
        StepsTimed: always.
    """
    raise StepsTimed(pace)
