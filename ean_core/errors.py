"""The one exception that stands for a user's mistake, and the wrapper that turns it into a sentence."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from difflib import get_close_matches


class EANError(ValueError):
    """Bad input. The message says what was found, what was expected and what to do, in one sentence."""


def command(main: Callable[[], None]) -> Callable[[], None]:
    """Wrap an entry point: an `EANError` becomes one line on stderr and exit status 2, Ctrl-C exit status 130.

    So does an `OSError` (a full disk, a directory that may not be written to). Of several processes only the first
    speaks, since all of them stop for the same reason.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        try:
            main()
        except (EANError, OSError) as error:
            if os.environ.get("RANK", "0") == "0":
                print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted: what was finished is kept, and a command that knows --resume goes on", file=sys.stderr)
            sys.exit(130)

    return wrapped


def unknown_name(kind: str, name: object, known: list[str] | tuple[str, ...]) -> EANError:
    """The error for a name that is not in a registry: the known names, and the nearest one first."""
    near = get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return EANError(f"unknown {kind} {name!r}: choose one of {', '.join(known)}{hint}")


def first_line(error: BaseException) -> str:
    """What another library's exception says, short enough for a sentence; its kind if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
