"""Capture work in a CUDA graph, avoiding what makes captures fail."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from ean_core.utils.errors import EANError, first_line

Result = TypeVar("Result")

WARMUP = 3
"""Warm-up runs, in which libraries allocate workspaces, choose kernels and compile."""


class CaptureFailed(EANError):
    """The work cannot be captured, but can still run without a graph. The message gives the reason."""


def capture(work: Callable[[], Result], *, before: Callable[[], object] | None = None) -> Callable[[], Result]:
    """Run `work` a few times, then capture it in a CUDA graph on the current device.

    An earlier network's graph may be garbage in a reference cycle (a model and its captured step refer to each other).
    Freeing it during a capture would break the capture, and since 2.9 PyTorch does not collect garbage beforehand. So
    garbage is collected first, and the collector is disabled until the capture ends.

    Args:
        work: uses tensors at fixed addresses, and never synchronizes.
        before: called before every warm-up run and before the capture; not captured.

    Returns:
        a function that replays the graph and returns the result of `work`, which each replay overwrites.

    Raises:
        CaptureFailed: if the capture fails. Errors of warm-up runs are raised unchanged.
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
        # "thread_local": other threads, such as a loader's that pins memory, must not break the capture.
        with no_garbage_collection(), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            result = work()
    except RuntimeError as error:
        torch.cuda.set_stream(stream)  # `torch.cuda.graph` does not restore it
        cause = error.__context__ or error  # ending a broken capture raises a less specific error
        raise CaptureFailed(f"the CUDA graph cannot be captured ({first_line(cause)})") from error

    def replay() -> Result:
        graph.replay()
        return result

    return replay


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now, and disable the collector inside the block."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
