"""The one exception that stands for a user's mistake, and the wrapper that turns it into a sentence."""

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
    (errno.EEXIST, errno.ENOTDIR): ": it has a file where a folder is needed, so give another",
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): ": make room there, or give a folder on another disk",
    (errno.EACCES, errno.EPERM, errno.EROFS): ": change who may read and write there, or give another folder",
}
"""What to do about an `OSError`, by its number."""


class EANError(ValueError):
    """Bad input. The message says what was found, what was expected and what to do, in one sentence."""


_P = ParamSpec("_P")


def command(main: Callable[_P, None]) -> Callable[_P, None]:
    """Wrap an entry point: an `EANError` becomes one line on stderr and exit status 2, Ctrl-C exit status 130.

    So does an `OSError` (a full disk, a directory that may not be written to), and a device or machine without enough
    memory. Of several processes only the first speaks, since all of them stop for the same reason.
    """

    @functools.wraps(main)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            tolerate_names()
            main(*args, **kwargs)
        except KeyboardInterrupt:
            print("interrupted: what was finished is kept, and a command that knows --resume goes on", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            short = out_of_memory(error)
            if not (short or isinstance(error, EANError | OSError)):
                raise
            said = f"{memory_sentence(error)}: give a smaller batch size" if short else sentence(error)
            if os.environ.get("RANK", "0") == "0":
                print(f"error: {legible(said)}", file=sys.stderr)
            sys.exit(2)

    return wrapped


def tolerate_names() -> None:
    """Let a file's name that the terminal cannot show be printed as `legible` writes it, rather than stop the work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def legible(name: str) -> str:
    """A file's name as text that can be drawn and printed.

    Bytes that are no UTF-8 become \\udcXX. So do characters that steer a terminal or break a line, as \\x1b, and those
    that turn the direction of writing, with which a name can look like another one.
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii") if steers(character) else character for character in name
    )


def steers(character: str) -> bool:
    """Whether a character does something to a terminal rather than be shown."""
    return category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDIRECTIONAL


def sentence(error: Exception) -> str:
    """An `EANError`'s text; of an `OSError` the file, what is the matter with it, and what to do."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    file = "a file" if error.filename is None else str(error.filename)
    advice = next((what for numbers, what in ADVICE.items() if error.errno in numbers), "")
    return f"{file} cannot be read or written ({error.strerror}){advice}"


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there was not enough memory, on a GPU or on the machine itself."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing it
        return True
    signs = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def memory_sentence(error: BaseException) -> str:
    """What ran out of memory, as the start of a sentence."""
    detail = str(error).split(". ")[0].splitlines()
    return f"out of memory ({detail[0][:160]})" if detail and detail[0] else "out of memory"


@contextmanager
def batch_of(images: int, *, option: str) -> Iterator[None]:
    """Inside the block, running out of memory becomes a sentence with the batch size to try.

    Args:
        images: that the block handles at a time.
        option: sets it, as the user types it: `--batch-size` or `--cfg-options train.batch_size`.

    Raises:
        EANError: in place of the memory error.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        sign = "=" if option.startswith("--cfg-options") else " "
        advice = f"try {option}{sign}{images // 2}" if images > 1 else "take smaller images or a smaller network"
        raise EANError(f"{memory_sentence(error)} with {images} image(s) in a batch: {advice}") from None


def unknown_name(kind: str, name: object, known: list[str] | tuple[str, ...]) -> EANError:
    """The error for a name that is not in a registry: the known names, and the nearest one first."""
    near = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return EANError(f"unknown {kind} {name!r}: choose one of {', '.join(known)}{hint}")


def first_line(error: BaseException) -> str:
    """The first sentence of another library's exception, at most 160 characters; its kind if it says nothing."""
    return (str(error).split(". ")[0].splitlines() or [type(error).__name__])[0][:160]
