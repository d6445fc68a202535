"""Freed memory is kept, and only where it was asked for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from ean_core.utils import allocator
from tests.helpers.processes import python_path

# A block of 64 MiB taken and given back again and again: how many pages had to be mapped anew.
CODE = """
import ctypes, resource, sys
from ean_core.utils.allocator import keep_freed_memory
changed = keep_freed_memory() if sys.argv[1] == "keep" else False
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)
library.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
for _ in range(10):
    block = library.malloc(64 << 20)
    library.memset(block, 1, 64 << 20)
    library.free(block)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(changed, usage.ru_minflt, usage.ru_maxrss)
"""

# Bytes in fast bins after many small blocks were given back.
BINS = """
import ctypes, sys
from ean_core.utils.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
library = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]
library.mallinfo2.restype = Info
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
library.free.argtypes = (ctypes.c_void_p,)
blocks = [library.malloc(40) for _ in range(1000)]
for block in blocks:
    library.free(block)
print(library.mallinfo2().fsmblks)
"""


def clean() -> dict[str, str]:
    """The environment without a user's own settings of malloc."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}


def in_fast_bins(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", BINS, how],
        env={**clean(), "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def faults(how: str, **environment: str) -> tuple[bool, int, int]:
    """Whether anything was changed, minor page faults, and the peak in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, how],
        env={**clean(), "PYTHONPATH": python_path(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    changed, count, peak = done.stdout.split()
    return changed == "True", int(count), int(peak)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_is_mapped_once() -> None:
    plain, kept = faults("leave"), faults("keep")
    assert kept[0]
    assert kept[1] < plain[1] / 3
    assert kept[2] < plain[2] + (80 << 10)  # the peak grows by no more than what is kept at the end of the heap


@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.33"), reason="needs glibc 2.33")
def test_nothing_waits_to_be_joined_with_its_neighbours() -> None:
    assert in_fast_bins("leave") > 10_000
    assert in_fast_bins("keep") == 0


def test_the_users_own_settings_stand() -> None:
    assert not faults("keep", MALLOC_ARENA_MAX="2")[0]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_freed_memory()
