"""Two sides of a comparison, in processes of their own that take turns, and the ratio of their times.

A process each, since what makes one side fast (the allocator, the number of threads) would change the other one too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ean_core.benchmark.timing import round_order
from ean_core.io.records import write_record
from ean_core.utils.allocator import keep_freed_memory
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import Interval, bootstrap_median

Turn = Callable[[], dict[str, Any]]
"""Does a piece of work, and returns at least {"seconds": ..}."""


class Side:
    """A script started with further arguments, which does a piece of work whenever it is called.

    Attributes:
        ready: what it sent once it was ready to begin.
    """

    def __init__(self, script: str | Path, arguments: Sequence[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.name = " ".join(map(str, arguments))
        self._ready: dict[str, Any] | None = None

    @property
    def ready(self) -> dict[str, Any]:
        """Wait until the side is ready; several sides get ready at the same time until they are asked."""
        if self._ready is None:
            self._ready = self._read()
        return self._ready

    def begin(self) -> None:
        """Let the side begin its turn."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._stopped() from None

    def finish(self) -> dict[str, Any]:
        """Wait for the end of the turn, and return what the side sends."""
        return self._read()

    def __call__(self) -> dict[str, Any]:
        self.begin()
        return self.finish()

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            raise self._stopped()
        return json.loads(line)

    def _stopped(self) -> EANError:
        status = self.process.wait()
        why = "the system ended it, which it does for want of memory" if status == -signal.SIGKILL else "see above"
        return EANError(f"the side {self.name!r} has stopped with status {status}: {why}")

    def close(self) -> None:
        """End the side's process, and wait for it."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout=60)


@contextlib.contextmanager
def started(script: str | Path, names: Sequence[str], arguments: Sequence[str]) -> Iterator[dict[str, Side]]:
    """A side for each name, the script with `--side NAME`; they end with the block, also if it fails."""
    sides = {name: Side(script, [*arguments, "--side", name]) for name in dict.fromkeys(names)}
    try:
        yield sides
    finally:
        for side in sides.values():
            side.close()


class Server:
    """The other end, in a side's process: it says that it is ready, waits for its turns, and sends their results."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        sys.stdout = sys.stderr  # nothing that a library prints gets between

    def send(self, message: Mapping[str, Any]) -> None:
        """Send plain values, and the largest amount of memory that was taken so far."""
        self._out.write(json.dumps({**message, "peak_mib": peak_mib()}) + "\n")
        self._out.flush()

    def wait(self) -> bool:
        """Wait for the next turn; False if there will be no more."""
        return bool(sys.stdin.readline())


def set_up(arguments: argparse.Namespace, *, keep_memory: bool = True) -> torch.device:
    """Set the threads and the allocator of a side's process, and choose its device."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if keep_memory:
        keep_freed_memory()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def printing_aside() -> Iterator[None]:
    """What is printed goes to stderr, also what goes around Python's sys.stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def finish(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def serve(work: Turn, **ready: Any) -> None:
    """Send `ready`, then take turns until the other end closes."""
    server = Server()
    server.send(ready)
    while server.wait():
        server.send(timed(work))


def timed(work: Turn) -> dict[str, Any]:
    """Do the work: its result and the seconds that it took, unless it measured them itself."""
    start = time.perf_counter()
    outcome = work()
    return {"seconds": time.perf_counter() - start, **outcome}


def interleave(sides: Mapping[str, Turn], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Call every side once a round, in an order that changes from round to round."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in round_order(tuple(sides), number):
            turns[name].append(sides[name]())
    return turns


def seconds(turns: Sequence[Mapping[str, Any]]) -> list[float]:
    """The seconds of every turn, in order."""
    return [turn["seconds"] for turn in turns]


def middle(turns: Sequence[Mapping[str, Any]]) -> float:
    """The seconds of the middle turn; of an even number, the later of the two."""
    return sorted(seconds(turns))[len(turns) // 2]


def times_as_fast(slow: Sequence[Mapping[str, Any]], fast: Sequence[Mapping[str, Any]]) -> Interval:
    """Median over the rounds of the ratio of their times, and its 95 % interval (see `bootstrap_median`)."""
    return bootstrap_median((np.array(seconds(slow)) / np.array(seconds(fast))).tolist())


def row(plain: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a record holds of a side: the seconds of its turns, how much faster than plain they are, its memory."""
    ratio = times_as_fast(plain, turns)
    return {"seconds": seconds(turns), "times_as_fast": ratio.to_record(), "peak_mib": turns[-1].get("peak_mib")}


def image_row(first: Sequence[Mapping[str, Any]], turns: Sequence[Mapping[str, Any]], pixels: int) -> dict[str, Any]:
    """`row` against the first side, of one whose turn is a large image."""
    return {**row(first, turns), "megapixels_per_second": pixels / 1e6 / middle(turns)}


def peak_mib() -> float:
    """Peak memory in MiB: the GPU's where one is used, else this process's.

    Reserved memory, not that of tensors: a CUDA graph's own belongs to none.
    """
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_reserved() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def check_equal(name: str, expected: torch.Tensor, got: torch.Tensor, tolerance: float) -> float:
    """The largest difference, relative to the largest logit.

    Raises:
        EANError: if it is over the tolerance.
    """
    difference = ((expected - got).abs().max() / expected.abs().max()).item()
    if not difference <= tolerance:
        raise EANError(f"{name} differs by {difference:.2g} and may by {tolerance:g}: nothing is compared")
    return difference


def write(arguments: argparse.Namespace, metrics: Any, *, last: bool = True, **settings: Any) -> None:
    """Write the record, with the options and further settings; say where, unless it is to be written again."""
    given = {**vars(arguments), "output": str(arguments.output), **settings}
    path = write_record(arguments.output, kind="speed", settings=given, metrics=metrics)
    if last:
        print(f"record: {path}")


def in_words(interval: Interval, unit: str = "x") -> str:
    """Such as "2.51x (2.40 to 2.66)"; the value alone over too few rounds for an interval."""
    if None in (interval.low, interval.high) or math.isnan(interval.low):
        return f"{interval.value:.2f}{unit}"
    return f"{interval.value:.2f}{unit} ({interval.low:.2f} to {interval.high:.2f})"
