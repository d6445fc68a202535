"""What a command changes in its process, put back after a command that ran in the tests' own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE)


@contextmanager
def process_state_kept() -> Iterator[None]:
    """Put back directory, environment, arguments, import path, signal handlers and torch's settings at the end."""
    directory, environment = os.getcwd(), dict(os.environ)
    arguments, path = list(sys.argv), list(sys.path)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    threads, autotuned = torch.get_num_threads(), torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv[:], sys.path[:] = arguments, path
        for number, handler in handlers.items():
            signal.signal(number, handler)
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = autotuned
