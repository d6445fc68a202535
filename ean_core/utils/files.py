"""Files that are either the old one or the new one, never half of one."""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an exception.

    A kill at any moment leaves the old file (or none), since `os.replace` is atomic on one file system.
    """
    path = Path(path)
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=f".tmp{path.suffix}")
        os.close(handle)
    temporary = Path(name)
    try:
        with named(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp gives 0600; a shared work directory wants the usual mode
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error name the file that was to be written: a full disk names none, others the temporary one.

    Its name begins with that of `path` between two dots.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(str(error.filename)).name.startswith(f".{path.name}."):
            error.filename = str(path)
        raise


def writable(folder: str | Path) -> Path:
    """A folder, made if it is not there, into which a file can be put: found out before hours are spent on the file.

    Raises:
        OSError: if not, naming the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        error.filename = str(folder)
        raise
    return folder


def free_path(path: str | Path) -> Path:
    """`path`, or with a number behind its stem where there is such a file: what took long to measure is not replaced
    unless the user names its file."""
    path = Path(path)
    more = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], more) if not one.exists())


def write_atomic(path: str | Path, text: str) -> None:
    """Write text so that a reader sees the old content or all of the new."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name can be no UTF-8


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
