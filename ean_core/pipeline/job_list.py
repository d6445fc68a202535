"""Job lists: one command a line, for whatever runs many commands (xargs, GNU parallel, a SLURM array, HyperQueue).

Every line can be run again, and ends at once where its work is done; the command that wrote the list gathers the
results when it is started with --resume.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from ean_core.utils.files import write_atomic
from ean_core.utils.screen import say
from ean_core.utils.text import how_many

Command = Sequence[object]
"""A script and its arguments."""


def write_job_list(path: Path, commands: Sequence[Command]) -> None:
    """Write the commands for this Python, quoted for a shell, and say how they are run.

    Args:
        path: replaced atomically.
        commands: in the order in which they are best begun. Relative paths in them are of the current directory.
    """
    lines = [shlex.join([sys.executable, *map(str, command)]) + "\n" for command in commands]
    write_atomic(path, "".join(lines))
    say(
        f"{how_many(len(lines), 'job')} in {path}, one command per line: run them from this directory (docs/scaling.md "
        "shows how), then this command again with --resume and without --jobs"
    )
