"""Set up a command's process: imports from its own checkout, open streams, matplotlib backend."""

from __future__ import annotations

import io
import os
import select
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ean_core.utils.wrapping import print_wrapped

BROKEN_PIPE = 141
"""Exit status after a broken pipe, as of a program ended by SIGPIPE."""


def prepare() -> None:
    """Make the process independent of how it was started."""
    run_package_beside()
    open_missing_streams()
    tolerate_names()
    keep_own_rights()
    ignore_warnings()
    os.environ["MPLBACKEND"] = "Agg"  # all pictures go to files; a notebook's own backend may not be installed here


def ignore_warnings() -> None:
    """Leave out warnings of other packages about what is meant to be as it is."""
    for text in (
        "This DataLoader will create",  # a recipe says the number of workers; more than there are cores does no harm
        "Setting (OMP|MKL)_NUM_THREADS",  # one thread for each of several processes
        "`broadcast_buffers` is deprecated",  # its new name is unknown to the earliest torch that is supported
    ):
        warnings.filterwarnings("ignore", message=text)
    # DistributedDataParallel's on unused parameters, which a supernet has in most of its steps, not in each.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def keep_own_rights() -> None:
    """Whatever the umask, let the owner read and write the files of a run: it is resumed from them."""
    os.umask(os.umask(0o077) & 0o077)


# -- the package ------------------------------------------------------------------------------------------------------


def run_package_beside() -> None:
    """Start a script again with the packages of its own checkout, if those of another one were imported.

    With two checkouts and one environment, the installed one would run under the name of the other.
    """
    name = getattr(sys.modules["__main__"], "__file__", None)
    if name is None:  # `python -c`
        return
    script = Path(name).resolve()
    root, imported = script.parent.parent, Path(__file__).resolve().parents[2]
    if root == imported or not (root / "ean_core" / "__init__.py").is_file():
        return
    if not any(Path(argument).resolve() == script for argument in sys.orig_argv[1:]):  # a notebook runs the script
        print_wrapped(f"note: {script} runs with the packages in {imported}, not with those beside it", file=sys.stderr)
        return
    sys.stderr.flush()
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONPATH": path})


# -- streams ----------------------------------------------------------------------------------------------------------


def open_missing_streams() -> None:
    """Open what the shell closed, as with `>&-`: else the next file takes its number, and gets what is printed."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                descriptor = os.open(os.devnull, os.O_RDWR)
                if descriptor != number:
                    os.dup2(descriptor, number)
                    os.close(descriptor)
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for as long as the process lives)


def tolerate_names() -> None:
    """Escape file names that the terminal's encoding cannot represent, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def quiet_broken_pipe() -> Iterator[None]:
    """End the process quietly if the reader of its output has gone, as `head` does after ten lines.

    Raises:
        SystemExit: with status 141.
    """
    try:
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()  # here, since at interpreter exit it would print an error
    except BrokenPipeError:
        broken = outputs_without_reader()
        if not broken:  # another pipe, to a process of our own
            raise
        sink = os.open(os.devnull, os.O_WRONLY)
        for number in broken:
            os.dup2(sink, number)
        sys.exit(BROKEN_PIPE)


def outputs_without_reader() -> list[int]:
    """Those of the descriptors 1 and 2 that are pipes without a reader."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return [number for number, event in poll.poll(0) if event & select.POLLERR]
