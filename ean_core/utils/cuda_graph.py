"""Capture in a CUDA graph: the one place where it is done, and what makes it fail is kept away."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from ean_core.utils.errors import EANError, first_line

Result = TypeVar("Result")

WARMUP = 3
"""Runs before the capture, in which the libraries make their workspaces, choose kernels and compile."""


class CaptureFailed(EANError):
    """The work cannot be captured here; it can still be run without a graph. The message says why."""


def capture(work: Callable[[], Result], *, before: Callable[[], object] | None = None) -> Callable[[], Result]:
    """Run `work` a few times, then capture it in a CUDA graph on the current device.

    An earlier network's graph can be garbage in a cycle (a model and its captured step refer to each other). Were it
    collected during the capture, freeing it would break the capture, and PyTorch does not collect beforehand any more
    since 2.9. So garbage is collected first, and the collector is off until the capture has ended.

    Args:
        work: reads and writes tensors that stay where they are, and does not wait for the device.
        before: called before every run and before the capture; not captured.

    Returns:
        runs the graph and gives what `work` returned, which every run writes over.

    Raises:
        CaptureFailed: if the capture fails. An error of the runs before it is raised as it is.
    """
    before = before or (lambda: None)
    stream, side_stream = torch.cuda.current_stream(), torch.cuda.Stream()
    side_stream.wait_stream(stream)
    with torch.cuda.stream(side_stream):
        for _ in range(WARMUP):
            before()
            work()
        before()
    stream.wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    try:
        # Only what this thread does can break the capture: a loader's thread may be pinning memory.
        with no_garbage_collection(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = work()
    except RuntimeError as error:
        torch.cuda.set_stream(stream)  # `torch.cuda.graph` leaves its own behind
        cause = error.__context__ or error  # ending a broken capture is an error too, which says less
        raise CaptureFailed(f"the CUDA graph cannot be captured ({first_line(cause)})") from error

    def replay() -> Result:
        graph.replay()
        return result

    return replay


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now, and not inside the block."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
