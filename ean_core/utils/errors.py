"""The exception for user errors, and the wrapper of commands that prints it as one line."""

from __future__ import annotations

import atexit
import errno
import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import ParamSpec
from unicodedata import category

from ean_core.utils.command_names import spelled
from ean_core.utils.failure_messages import explain, memory_sentence, out_of_memory
from ean_core.utils.startup import outputs_without_reader, prepare, quiet_broken_pipe
from ean_core.utils.wrapping import print_wrapped

BIDIRECTIONAL = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ADVICE = {
    (errno.EEXIST, errno.ENOTDIR): ": a file is in the way of a folder, so give another path",
    (errno.ENOENT,): ": the file or its folder does not exist, so give another path, or start again",
    (errno.ENAMETOOLONG,): ": give a shorter name",
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG): ": free some space, or give a folder on another disk",
    (errno.EACCES, errno.EPERM, errno.EROFS): ": change the permissions, or give another folder",
}
"""Advice for an `OSError`, by its errno."""


class EANError(ValueError):
    """A user error. The message says in one sentence what was found, what was expected and what to do.

    Names and values of any length and content may go into it: its text is one line, see `one_line`.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


_P = ParamSpec("_P")


class SharedError(EANError):
    """Raised in all processes of a run at once, so that one of them says it for all."""


def command(main: Callable[_P, None]) -> Callable[_P, None]:
    """Wrap an entry point: an `EANError` becomes one line on stderr and exit status 2, Ctrl-C exit status 130.

    An `OSError` (a full disk, missing permissions), running out of memory, and the end of a process that this one needs
    are handled like an `EANError`. With several processes, each prints its own error, and the first one prints errors
    common to all. If the reader of the output goes away, as `head` does, the command ends quietly.
    """

    @functools.wraps(main)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> None:
        prepare()
        with quiet_broken_pipe():
            _run_command(functools.partial(main, *args, **kwargs))

    return wrapped


def _run_command(main: Callable[[], None]) -> None:
    """Run a command; on an error, print one line and exit."""
    try:
        check_current_directory()
        main()
        distributed = sys.modules.get("ean_core.utils.distributed")
        if distributed is not None and distributed.joined_group():
            end_now()
    except KeyboardInterrupt:
        print_wrapped("interrupted: finished work is kept; run it again with --resume to continue", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report a dead worker repeatedly
        if isinstance(error, BrokenPipeError) and outputs_without_reader():
            raise
        message = explain(error) or (sentence(error) if isinstance(error, EANError | OSError) else None)
        if message is None:
            raise
        rank, world = launched_as()
        if rank == 0 or not isinstance(error, SharedError):
            process = f"in process {rank} of {world}: " if rank else ""
            print_wrapped(f"error: {process}{one_line(spelled(message))}", file=sys.stderr)
        sys.exit(2)


def check_current_directory() -> None:
    """Make sure that the current directory exists: libraries fail on a removed one with messages about other files.

    Raises:
        EANError: if it was removed.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise EANError("the current directory was removed: change to one that exists") from None


def end_now() -> None:
    """End the process with status 0, without the teardown of libraries.

    The threads of a process group can abort a process there that has done its work, and its launcher would then end
    the others.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def launched_as() -> tuple[int, int]:
    """Rank and world size from the launcher's variables; (0, 1) if RANK or WORLD_SIZE is missing."""
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        try:
            return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        except ValueError:
            pass
    return 0, 1


def legible(name: str) -> str:
    """A file name as text that is safe to print and draw.

    Invalid UTF-8 bytes become \\udcXX. Control characters and line breaks are escaped too, as in \\x1b, and so are
    bidirectional marks, which can make one name look like another.
    """
    return "".join(
        character.encode("unicode_escape").decode("ascii") if steers(character) else character for character in name
    )


def one_line(text: str) -> str:
    """A message as one `legible` line of about a thousand characters at most; long values are cut in the middle."""
    text = re.sub(r"\S{300,}", lambda value: cut_middle(value[0], first=150, last=50), legible(text))
    return cut_middle(text, first=600, last=400)


def cut_middle(text: str, *, first: int, last: int) -> str:
    """The first and the last characters of a text, and how many were left out between; all of it if it is short."""
    left_out = len(text) - first - last
    if left_out < 100:  # about as long as what would replace them
        return text
    return f"{text[:first]} [{left_out:,} characters left out] {text[-last:]}"


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


def unknown_name(kind: str, name: object, names: list[str] | tuple[str, ...], *, where: str = "") -> EANError:
    """The error for a name that is not in a registry: lists the names and suggests the nearest, ignoring case.

    Args:
        kind: what has the name, such as "search method".
        name: as it was given.
        names: those that there are.
        where: the name was found, such as a file.
    """
    place = f" in {where}" if where else ""
    advice = (
        f"choose one of {', '.join(names)}{nearest(name, names)}" if names else "leave it out, since there are none"
    )
    return EANError(f"unknown {kind} {name!r}{place}: {advice}")


def nearest(name: object, names: list[str] | tuple[str, ...]) -> str:
    """The end of an error, "; did you mean 'se'?", for the name most like the given one, ignoring case; else ""."""
    lower = {choice.lower(): choice for choice in reversed(names)}
    near = get_close_matches(str(name).lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


def first_line(error: BaseException) -> str:
    """The first sentence of an exception's message, at most 160 characters; its type if there is none."""
    return (str(error).split(". ")[0].splitlines() or [type(error).__name__])[0][:160]
