"""Worker processes of a `DataLoader` that end when they cannot hand over a batch, rather than leave the run waiting."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.queues import Queue
from typing import Any

from torch.utils.data import DataLoader

from ean_core.utils.failure_messages import NO_SHARED_MEMORY, lacks_shared_memory


def guard_workers(loader: DataLoader) -> DataLoader:
    """Let the loader's workers end where /dev/shm is full, before they are started; returns the loader.

    A worker hands its batches over in a thread. If that thread fails, the batch is lost, and the main process waits
    for it for ever, as in a container with Docker's 64 MB of shared memory. A worker that ends is seen at once, and
    `ean_core.utils.failure_messages` has the sentence for it.
    """
    if loader.num_workers:
        loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)
    return loader


def _start_worker(init: Callable[[int], None] | None, worker_id: int) -> None:
    """The loader's own preparation of a worker, and ours."""
    Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[method-assign]  (in this worker alone)
    if init is not None:
        init(worker_id)


def _end(error: BaseException, _: Any) -> None:
    """End this worker, since a batch is lost."""
    if lacks_shared_memory(str(error)):
        os._exit(NO_SHARED_MEMORY)
    traceback.print_exception(error)
    os._exit(1)
