"""Looking at a module's outputs while other threads use the same network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Hook = Callable[[Any, tuple[Any, ...], Any], Any]
_REGISTERING = threading.Lock()  # torch numbers hooks with a counter that threads would share


@contextmanager
def watch(modules: Iterable[nn.Module], hook: Hook) -> Iterator[None]:
    """Call `hook(module, inputs, output)` after each forward pass of a module that this thread makes in the block.

    What it returns, if anything, replaces the output. Passes of other threads neither see the hook nor are seen by it.
    """
    thread = threading.get_ident()

    def of_this_thread(module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        return hook(module, inputs, output) if threading.get_ident() == thread else None

    with _REGISTERING:
        handles = [module.register_forward_hook(of_this_thread) for module in modules]
    try:
        yield
    finally:
        with _REGISTERING:
            for handle in handles:
                handle.remove()
