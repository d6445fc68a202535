"""The one exception that stands for a user's mistake, and the wrapper that turns it into a sentence."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import ParamSpec
from unicodedata import category

from ean_core.utils.failures import explain, memory_sentence, out_of_memory
from ean_core.utils.startup import outputs_without_reader, prepare, quiet_broken_pipe

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


class SharedError(EANError):
    """Raised in all processes of a run at once, so that one of them says it for all."""


def command(main: Callable[_P, None]) -> Callable[_P, None]:
    """Wrap an entry point: an `EANError` becomes one line on stderr and exit status 2, Ctrl-C exit status 130.

    So does an `OSError` (a full disk, a directory that may not be written to), a device or machine without enough
    memory, and the end of another process that this one needs. Each of several processes says what it met, and the
    first one what all met together. A reader of the output that goes, as `head` does, ends the command quietly.
    """

    @functools.wraps(main)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        prepare()
        with quiet_broken_pipe():
            _in_sentences(functools.partial(main, *args, **kwargs))

    return wrapped


def _in_sentences(main: Callable[[], None]) -> None:
    """Run a command, and end the process with a sentence for what went wrong."""
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept, and a command that knows --resume goes on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if threading.current_thread() is threading.main_thread():
            signal.signal(
                signal.SIGCHLD, signal.SIG_DFL
            )  # torch's handler would say again and again that a worker died
        if isinstance(error, BrokenPipeError) and outputs_without_reader():
            raise
        said = explain(error) or (sentence(error) if isinstance(error, EANError | OSError) else None)
        if said is None:
            raise
        rank, world = launched_as()
        if rank == 0 or not isinstance(error, SharedError):
            process = f"in process {rank} of {world}: " if rank else ""
            print(f"error: {process}{legible(said)}", file=sys.stderr, flush=True)
        sys.exit(2)


def launched_as() -> tuple[int, int]:
    """This process's number and how many there are, as a launcher's variables say; RANK alone is nobody's launch."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        try:
            return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        except ValueError:
            pass
    return 0, 1


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
    """The error for a name that is not in a registry: the known names, and the nearest one, in small letters or not."""
    lower = {one.lower(): one for one in reversed(known)}
    near = get_close_matches(str(name).lower(), lower, n=1)
    hint = f"; did you mean {lower[near[0]]!r}?" if near else ""
    return EANError(f"unknown {kind} {name!r}: choose one of {', '.join(known)}{hint}")


def first_line(error: BaseException) -> str:
    """The first sentence of another library's exception, at most 160 characters; its kind if it says nothing."""
    return (str(error).split(". ")[0].splitlines() or [type(error).__name__])[0][:160]
