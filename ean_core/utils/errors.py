"""The exception for user errors, and the wrapper of commands that prints it as one line."""

from __future__ import annotations

import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import ParamSpec
from unicodedata import category

BIDIRECTIONAL = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ADVICE = {
    (errno.EEXIST, errno.ENOTDIR): ": a file is in the way of a folder, so give another path",
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): ": free some space, or give a folder on another disk",
    (errno.EACCES, errno.EPERM, errno.EROFS): ": change the permissions, or give another folder",
}
"""Advice for an `OSError`, by its errno."""


class EANError(ValueError):
    """A user error. The message says in one sentence what was found, what was expected and what to do."""


_P = ParamSpec("_P")


def command(main: Callable[_P, None]) -> Callable[_P, None]:
    """Wrap an entry point: an `EANError` becomes one line on stderr and exit status 2, Ctrl-C exit status 130.

    An `OSError` (a full disk, missing permissions) and running out of memory are handled like an `EANError`. Of several
    processes only the first prints, since all stop for the same reason.
    """

    @functools.wraps(main)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            tolerate_names()
            main(*args, **kwargs)
        except KeyboardInterrupt:
            print("interrupted: finished work is kept; run it again with --resume to continue", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            short = out_of_memory(error)
            if not (short or isinstance(error, EANError | OSError)):
                raise
            message = f"{memory_sentence(error)}: give a smaller batch size" if short else sentence(error)
            if os.environ.get("RANK", "0") == "0":
                print(f"error: {legible(message)}", file=sys.stderr)
            sys.exit(2)

    return wrapped


def tolerate_names() -> None:
    """Escape file names that the terminal's encoding cannot represent, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def legible(name: str) -> str:
    """A file name as text that is safe to print and draw.

    Invalid UTF-8 bytes become \\udcXX. Control characters and line breaks are escaped too, as in \\x1b, and so are
    bidirectional marks, which can make one name look like another.
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii") if steers(character) else character for character in name
    )


def steers(character: str) -> bool:
    """Whether a character controls a terminal or text direction rather than being shown."""
    return category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDIRECTIONAL


def sentence(error: Exception) -> str:
    """An error's message; for an `OSError`, the file, the reason and what to do."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    file = "a file" if error.filename is None else str(error.filename)
    advice = next((text for numbers, text in ADVICE.items() if error.errno in numbers), "")
    return f"{file} cannot be read or written ({error.strerror}){advice}"


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


@contextmanager
def batch_of(images: int, *, option: str) -> Iterator[None]:
    """Turn running out of memory in the block into an `EANError` that suggests a batch size.

    Args:
        images: batch size used in the block.
        option: that sets it, as the user types it: `--batch-size` or `--cfg-options train.batch_size`.

    Raises:
        EANError: in place of the memory error.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        sign = "=" if option.startswith("--cfg-options") else " "
        advice = f"try {option}{sign}{images // 2}" if images > 1 else "use smaller images or a smaller network"
        raise EANError(f"{memory_sentence(error)} at batch size {images}: {advice}") from None


def unknown_name(kind: str, name: object, names: list[str] | tuple[str, ...]) -> EANError:
    """The error for a name that is not in a registry: lists the names and suggests the nearest."""
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return EANError(f"unknown {kind} {name!r}: choose one of {', '.join(names)}{hint}")


def first_line(error: BaseException) -> str:
    """The first sentence of an exception's message, at most 160 characters; its type if there is none."""
    return (str(error).split(". ")[0].splitlines() or [type(error).__name__])[0][:160]
