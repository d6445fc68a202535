"""Error messages for external failures: a killed process, no shared memory, no memory."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterator

WORKER_KILLED = (
    "a process that reads images was killed, as happens when memory runs out: give fewer of them "
    "(--cfg-options data.workers=0; segmentation: train_dataloader.num_workers=0 "
    "train_dataloader.persistent_workers=False) or a smaller batch size, and start again with --resume"
)
NO_SHARED_MEMORY = 71
"""Exit status of a data worker that could not hand over a batch (EX_OSERR)."""
_SHARED_MEMORY = ("shared memory", "bus error", f"exit code {NO_SHARED_MEMORY}.", "file </torch_")
_PEER = re.compile(
    r"gloo/transport|connection (closed|reset) by (remote )?peer|socket (closed|timeout)|ncclremoteerror|"
    r"remote process exited|broken pipe|connection refused|recvvalue failed|store.*(wait|get) timeout",
    re.IGNORECASE,
)


def explain(error: BaseException) -> str | None:
    """The message for an exception with an external cause; None for all others."""
    if out_of_memory(error):
        return f"{memory_sentence(error)}: give a smaller batch size"
    if isinstance(error, ConnectionError | EOFError) and _while_reading_batches(error):
        return WORKER_KILLED  # while a batch was being transferred
    if str(error) == "embedded null byte":
        return "a path holds a null character: give another path"
    if not isinstance(error, RuntimeError):
        return None
    if str(error).startswith("Symlink loop from"):  # Python before 3.13; an OSError since
        return f"{str(error).removeprefix('Symlink loop from ')} is a link that leads back to itself: give another path"
    texts = [str(cause) for cause in _chain(error)]
    worker = " ".join(text for text in texts if "DataLoader worker" in text)
    if worker and lacks_shared_memory(worker):
        return (
            "/dev/shm, through which processes hand over the images that they read, is full: give the machine more "
            "(docker run --shm-size=8g), or read without such processes (--cfg-options data.workers=0; segmentation: "
            "train_dataloader.num_workers=0 train_dataloader.persistent_workers=False), and start again with --resume"
        )
    if "exited unexpectedly" in worker or "killed by signal" in worker:
        return WORKER_KILLED
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    kinds = {type(cause).__name__ for cause in _chain(error)}
    if kinds & {"DistBackendError", "DistNetworkError", "DistStoreError"} or any(map(_PEER.search, texts)):
        return (
            "another process of this run has ended or cannot be reached, so that this one cannot go on: see what that "
            "one said, if it was not killed, and start all of them again with --resume"
        )
    return None


def lacks_shared_memory(text: str) -> bool:
    """Whether a data worker's error means that /dev/shm is full."""
    return any(sign in text.lower() for sign in _SHARED_MEMORY)


def _while_reading_batches(error: BaseException) -> bool:
    """Whether an error was raised in torch's data loader."""
    frames = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(name.endswith("torch/utils/data/dataloader.py") for name in frames)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that a GPU or the machine ran out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing it
        return True
    signs = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def memory_sentence(error: BaseException) -> str:
    """The start of a message on running out of memory."""
    detail = str(error).split(". ")[0].splitlines()
    return f"out of memory ({detail[0][:160]})" if detail and detail[0] else "out of memory"
