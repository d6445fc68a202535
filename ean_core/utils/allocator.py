"""Keep the memory that tensors give back, in place of returning it to the system after every layer.

glibc maps every allocation of 32 MiB or more, and gives the end of the heap back as soon as it is free. The features of
a batch are such allocations, so that every layer of every step has its memory mapped, cleared and unmapped again: with
large batches most of a CPU's time (`benchmarks/training.py` and `benchmarks/scoring.py` measure it).

And whenever 64 KiB or more become free, it joins the smallest free pieces of the heap ("fast bins") with their
neighbours: of the very many that a layer takes for itself, so that for a single image it is a tenth of the time.
"""

from __future__ import annotations

import ctypes
import os

M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = 1, -1, -2, -4  # of malloc.h
TOP_PAD = 64 << 20  # the heap grows by so many bytes more than it must


def keep_freed_memory() -> bool:
    """Change malloc's behaviour in this process and those that it forks; the process then holds on to its peak.

    Where the environment already says how malloc is to behave (MALLOC_MMAP_MAX_ and its like), that stands.

    Returns:
        whether anything was changed: False where the C library is not glibc.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018, other libraries have a mallopt that knows other numbers
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # -1 never trims; no allocation is mapped on its own, and so all of them can be used again; no fast bins.
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: TOP_PAD, M_MXFAST: 0}
    changed = [mallopt(option, value) for option, value in options.items()]
    return all(changed)
