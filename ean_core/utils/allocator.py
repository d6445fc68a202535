"""Keep freed memory in the process instead of returning it to the system after every layer.

glibc maps every allocation of 32 MiB or more separately, and trims the top of the heap as soon as it is free. A batch's
features are that large, so every layer of every step maps, clears and unmaps memory, which with large batches takes
most of the CPU time (`benchmarks/training.py` and `benchmarks/scoring.py` measure it).

Whenever 64 KiB or more are freed, glibc also merges the smallest free chunks ("fast bins") with their neighbors. A
layer frees so many of them that for a single image this takes a tenth of the time.
"""

from __future__ import annotations

import ctypes
import os

M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = 1, -1, -2, -4  # from malloc.h
TOP_PAD = 64 << 20  # bytes by which the heap grows beyond what is needed


def keep_freed_memory() -> bool:
    """Change malloc's behavior in this process and its forks, which then keep their peak memory.

    Does nothing if the environment configures malloc (MALLOC_MMAP_MAX_ and the like).

    Returns:
        whether anything was changed; False if the C library is not glibc.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018, other C libraries have another mallopt
        mallopt = library.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # Never trim (-1); map no allocation separately, so that all memory can be reused; no fast bins.
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: TOP_PAD, M_MXFAST: 0}
    changed = [mallopt(option, value) for option, value in options.items()]
    return all(changed)
